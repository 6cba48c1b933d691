# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A bundle for berth-container as an OCI runtime: $WORK/bundle, whose configuration is changed in Python.

# oci_setup: after runtime_setup.
oci_setup() {
	mkdir -p "$WORK/bundle"
	cp -a "$BUSYBOX" "$WORK/bundle/rootfs"
	mkdir -p "$WORK/bundle/rootfs/"{proc,dev,sys}
	"$BERTH_CONTAINER" spec --bundle "$WORK/bundle"
	mv "$WORK/bundle/config.json" "$WORK/spec.json"
}

oci_teardown() {
	local id
	for id in $(oci list -q); do oci delete --force "$id"; done
}

oci() { "$BERTH_CONTAINER" --root "$WORK/oci" "$@"; }

# config PYTHON: the bundle's config.json, changed; PYTHON sees `c`.
config() {
	CHANGE=$1 python3 - <<'PY'
import json, os
work = os.environ["WORK"]
c = json.load(open(work + "/spec.json"))
c["process"]["terminal"] = False
c["process"]["args"] = ["sleep", "100000"]
c["linux"]["cgroupsPath"] = "berth-oci-" + os.path.basename(work) + "/x"
exec(os.environ["CHANGE"])
json.dump(c, open(work + "/bundle/config.json", "w"))
PY
}
