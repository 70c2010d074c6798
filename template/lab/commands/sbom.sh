#!/bin/sh
# Writes the contents of the lab's image to sbom.cdx.json (CycloneDX), and the build record to provenance.json (SLSA).
set -eu
. lab/commands/lib/one_at_a_time.sh
alone sbom
. lab/commands/lib/all.sh
. lab/commands/lib/programs.sh

require check_engine check_buildkit check_path check_index check_ca check_config
image=$(image lab)
tools=$(image sbom)

work=$(mktemp -d)
container=
trap '[ -z "$container" ] || docker rm --force "$container" >/dev/null; rm -rf "$work" .sbom.new; unlock' EXIT
trap 'exit 130' HUP INT TERM

echo "Building the image and the tools that read it ..."
quietly "$work/log" build lab
quietly "$work/log" bake --set lab.target=sbom --set "lab.tags=$tools" --set lab.output=type=docker lab
quietly "$work/log" bake --metadata-file "$work/metadata" --set lab.output=type=cacheonly lab
sealed --entrypoint python3 "$tools" -I /build/provenance.py <"$work/metadata" >"$work/provenance"
container=$(docker create "$image")
# The tools read only the image's files. They have no network and no folder of this machine.
docker export "$container" | sealed --tmpfs /tmp:mode=1777,exec "$tools" "${image%-lab}" >.sbom.new
mv .sbom.new sbom.cdx.json
echo "Wrote sbom.cdx.json: what $image contains."
if [ -s "$work/provenance" ]; then
    cp "$work/provenance" provenance.json
    echo "Wrote provenance.json: the base image, build arguments and stages of $image."
else
    rm -f provenance.json
    echo "This engine does not record how it built the image, so there is no provenance.json."
fi
