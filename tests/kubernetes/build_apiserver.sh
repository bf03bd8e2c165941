#!/usr/bin/env bash
# Builds kube-apiserver 1.20.2 from Debian's source package, with Debian's Go, into the folder given. Needs root (apt-get), Debian 12,
# 3 GB of disk and about 6 minutes of CPU. The sources come from the mirror that apt is set up with; its lists are not touched.
set -euo pipefail
out=$(mkdir -p "${1:?usage: build_apiserver.sh FOLDER}" && cd "$1" && pwd)
if [ -x "$out/kube-apiserver" ] && [ -x "$out/etcd" ]; then
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt-get update -q

if ! [ -x "$out/etcd" ]; then
  # Only the program: the installed package would start a service of its own.
  mkdir -p "$work/etcd"
  (cd "$work/etcd" && apt-get download -q -o APT::Sandbox::User=root etcd-server && dpkg -x etcd-server_*.deb .)
  cp "$work/etcd/usr/bin/etcd" "$out/etcd"
fi
[ -x "$out/kube-apiserver" ] && exit 0

apt-get install -q -y --no-install-recommends golang-1.19-go golang-github-modern-go-reflect2-dev dpkg-dev
# Source packages are mostly switched off: a sources file of our own, derived from what apt already uses.
mkdir -p "$work/lists/partial" "$work/parts" "$work/source"
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 'Codename: bookworm' 'Component: main' \
  | sort -u | sed 's/^/deb-src /' > "$work/sources.list"
[ -s "$work/sources.list" ] || { echo "apt knows no Debian 12 (bookworm) repository" >&2; exit 1; }
own=(-o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts" -o "Dir::State::lists=$work/lists"
     -o APT::Sandbox::User=root)
apt-get "${own[@]}" update -q
(cd "$work/source" && apt-get "${own[@]}" -q --download-only source kubernetes)

export PATH=/usr/lib/go-1.19/bin:$PATH GOPATH=$work/go GOCACHE=$work/cache GO111MODULE=off CGO_ENABLED=0 GOFLAGS=
root=$GOPATH/src/k8s.io/kubernetes
mkdir -p "$(dirname "$root")"
dpkg-source -x "$work"/source/kubernetes_*.dsc "$root"
cd "$root"

# The vendored reflect2 does not start on Go 1.18 and later.
rm -rf vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/reflect2

# pkg/generated/openapi is not in the source: its makefile makes it, for a GOPATH that is not this one.
go build -p 1 -o "$work/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
inputs=$(grep -rl --include='*.go' '^// *+k8s:openapi-gen=true' pkg staging/src/k8s.io vendor/k8s.io/*/ \
  | grep -v -e sample-apiserver -e code-generator -e /testdata/ | xargs -n1 dirname \
  | sed -e 's#^staging/src/k8s.io#vendor/k8s.io#' -e 's#^#k8s.io/kubernetes/#' | LC_ALL=C sort -u | paste -sd,)
"$work/openapi-gen" -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
  -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$work/violations.report"

version=k8s.io/kubernetes/vendor/k8s.io/component-base/version
go build -p 2 \
  -ldflags "-s -w -X $version.gitMajor=1 -X $version.gitMinor=20 -X $version.gitVersion=v1.20.2 -X $version.gitTreeState=archive" \
  -o "$work/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
mv "$work/kube-apiserver" "$out/kube-apiserver"
