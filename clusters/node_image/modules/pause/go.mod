module graymesh/node-image/pause

go 1.25.0
