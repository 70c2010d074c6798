#!/bin/sh
# Write what the lab's image holds, sbom.cdx.json (CycloneDX), and what it was built from, provenance.json (SLSA).
set -eu
. lab/commands/lib/all.sh

require check_engine check_buildkit check_index check_ca check_config
image=$(image lab)
tools=$(image sbom)

work=$(mktemp -d)
container=
trap '[ -z "$container" ] || docker rm --force "$container" >/dev/null; rm -rf "$work" .sbom.new' EXIT
trap 'exit 130' HUP INT TERM

# bake OPTION...: the lab's build, with something else made of it.
bake() {
    docker compose config | BUILDX_BAKE_ENTITLEMENTS_FS=0 docker buildx bake --file - --progress plain "$@" lab
}

echo "Building the image and the tools that read it ..."
if ! {
    docker compose build lab &&
        bake --set lab.target=sbom --set "lab.tags=$tools" --set lab.output=type=docker &&
        bake --metadata-file "$work/metadata" --set lab.output=type=cacheonly
} >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    reason=$(sed -n 's/.*labdock: //p' "$work/log" | tail -n 1)
    refuse "the image or its tools were not built: ${reason:-the lines above say why.}"
fi
container=$(docker create "$image")
# The tools see the image's files and nothing else: no network, no folder of this machine.
docker export "$container" | docker run --rm --interactive --network none --read-only --cap-drop ALL \
    --security-opt no-new-privileges:true --tmpfs /tmp:mode=1777,exec "$tools" "${image%-lab}" >.sbom.new
mv .sbom.new sbom.cdx.json
echo "Wrote sbom.cdx.json: $(grep -c '"bom-ref"' sbom.cdx.json) components of $image."

# Credentials in an address stay out.
awk '/^    "buildx.build.provenance": \{/ {on = 1; print "{"; next} on && /^    \}/ {print "}"; exit} on' "$work/metadata" |
    sed 's#//[^/"]*@#//#g' >"$work/provenance"
if [ -s "$work/provenance" ]; then
    cp "$work/provenance" provenance.json
    echo "Wrote provenance.json: base image, build arguments, stages."
else
    rm -f provenance.json
    echo "This engine tells no provenance, so there is no provenance.json."
fi
