// Package v20170312 lets flannel's tencent-vpc backend compile where the real SDK module
// is not to be had. It has just the names that backend mentions; making a client always fails,
// so no other call is ever reached with a usable value.
package v20170312

import "errors"

// ErrAbsent is what every call returns.
var ErrAbsent = errors.New("the tencent-vpc backend is not part of this build of flannel")

// Client is never made: NewClientWithSecretId refuses.
type Client struct{}

// NewClientWithSecretId refuses.
func NewClientWithSecretId(_, _, _ string) (*Client, error) { return nil, ErrAbsent }

// Filter selects route tables.
type Filter struct {
	Name   *string
	Values []*string
}

// Route is one row of a route table.
type Route struct {
	DestinationCidrBlock, GatewayType, GatewayId, RouteType, RouteDescription *string

	RouteId *uint64
	Enabled *bool
}

// RouteTable is a set of routes.
type RouteTable struct {
	RouteTableId *string
	RouteSet     []*Route
}

// DescribeRouteTablesRequest asks for route tables.
type DescribeRouteTablesRequest struct{ Filters []*Filter }

// DescribeRouteTablesResponse would hold them.
type DescribeRouteTablesResponse struct{ Response *RouteTables }

// RouteTables is the body of a DescribeRouteTablesResponse.
type RouteTables struct {
	TotalCount    *uint64
	RouteTableSet []*RouteTable
}

// RouteChange names routes of one table.
type RouteChange struct {
	RouteTableId *string
	Routes       []*Route
}

// CreateRoutesRequest asks for routes to be added.
type CreateRoutesRequest RouteChange

// DeleteRoutesRequest asks for routes to be removed.
type DeleteRoutesRequest RouteChange

// RoutesChanged would acknowledge a change.
type RoutesChanged struct{}

// NewDescribeRouteTablesRequest makes an empty request.
func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest {
	return &DescribeRouteTablesRequest{}
}

// NewCreateRoutesRequest makes an empty request.
func NewCreateRoutesRequest() *CreateRoutesRequest { return &CreateRoutesRequest{} }

// NewDeleteRoutesRequest makes an empty request.
func NewDeleteRoutesRequest() *DeleteRoutesRequest { return &DeleteRoutesRequest{} }

// DescribeRouteTables refuses.
func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, ErrAbsent
}

// CreateRoutes refuses.
func (*Client) CreateRoutes(*CreateRoutesRequest) (*RoutesChanged, error) { return nil, ErrAbsent }

// DeleteRoutes refuses.
func (*Client) DeleteRoutes(*DeleteRoutesRequest) (*RoutesChanged, error) { return nil, ErrAbsent }
