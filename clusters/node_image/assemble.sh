#!/bin/sh
# Runs inside a container of the Debian root file system and turns it into a kind node.
# /in holds one folder for each part; the argument is the Kubernetes version. Ends non-zero at the first thing that fails.
set -eu

# kind's own files for its base image: entry point, units, containerd's configuration.
cp -rT --no-preserve=mode /in/kind-files /
chmod 755 /usr/local/bin/entrypoint /usr/local/bin/clean-install /kind/bin/*.sh

for program in kubelet kubeadm kubectl; do
  install -m 755 "/in/$program/$program" "/usr/bin/$program"
done
mkdir -p /opt/cni/bin /etc/kubernetes/manifests /kind/images
for plugin in /in/cni-*/cni-*; do
  name=$(basename "$plugin")
  install -m 755 "$plugin" "/opt/cni/bin/${name#cni-}"
done
echo "$1" >/kind/version
touch /kind/product_name /kind/product_uuid

# Units that have no place in a container, as in kind's own image.
rm -f /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
  /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
  /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/basic.target.wants/* \
  /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl*
echo ReadKMsg=no >>/etc/systemd/journald.conf
systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service

# Debian's containerd is in /usr/bin; a node may lack the capability to raise limits or lower its OOM score.
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
mkdir -p /etc/systemd/system/containerd.service.d
cat >/etc/systemd/system/containerd.service.d/10-bounded.conf <<'UNIT'
[Service]
ExecStart=
ExecStart=/usr/bin/containerd
LimitNOFILE=
LimitNPROC=
LimitCORE=
LimitNOFILE=20000
OOMScoreAdjust=
UNIT
ctr oci spec |
  jq '.hooks.createContainer[.hooks.createContainer | length] |= . + {path: "/kind/bin/mount-product-files.sh"}
      | del(.process.rlimits)' >/etc/containerd/cri-base.json

# The container images, into the store that containerd will have on every node.
containerd >/tmp/containerd.log 2>&1 &
daemon=$!
tries=0
until ctr version >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 150 ] || ! kill -0 "$daemon"; then
    echo "containerd does not answer: $(tail -n 2 /tmp/containerd.log)" >&2
    exit 1
  fi
  sleep 0.2
done
ctr -n k8s.io images import --no-unpack --digests /in/images/images.tar >/dev/null
ctr -n k8s.io images ls -q
kill "$daemon"
wait "$daemon" || true
rm -rf /run/containerd /tmp/containerd.log
