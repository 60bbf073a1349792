# Runs inside the build image: /build/source becomes /opt/hecto/releases/$RELEASE, packed as /build/release.tar.zst.
# /wheels keeps compiled and downloaded packages from one build to the next; it belongs to one set of pins and one image.
set -eu
umask 022
target="/opt/hecto/releases/$RELEASE"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

if [ ! -e /wheels/complete ]; then
    # psycopg2 has no wheel for Linux of its own; its authors advise against psycopg2-binary, which brings its own libpq and libssl.
    python3 -m pip wheel --quiet --wheel-dir /wheels --requirement /build/source/requirements.txt
    touch /wheels/complete
fi

# The compiled packages come from above, setuptools from the image: from here on nothing is fetched.
export PIP_NO_INDEX=1
python3 -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/product /build/source

# Without pip: a release is never changed in place.
python3 -m venv --without-pip "$target"
python3 -m pip --python "$target/bin/python" install --quiet --no-compile --find-links /wheels --requirement /build/source/requirements.txt
python3 -m pip --python "$target/bin/python" install --quiet --no-compile --no-deps /build/product/*.whl
# A release never changes, so Python need not compare its byte code with the sources at every start of every instance.
"$target/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$target/lib"

# What nginx serves by itself.
site="$("$target/bin/python" -c 'import os, sysconfig; print(os.path.join(sysconfig.get_path("purelib"), "hecto"))')"
cp -a "$site/static/dist" "$target/static"
# The newest migration that this code knows: whether it can be deployed or gone back to depends on it.
schema="$("$target/bin/python" -c 'from hecto.migrations import revisions; print(revisions.known()[-1])')"
printf '{"id": "%s", "suite": "%s", "version": "%s", "built_at": "%s", "schema": "%s"}\n' \
    "$RELEASE" "$SUITE" "$VERSION" "$BUILT_AT" "$schema" > "$target/release.json"

# The release must start from its own files alone.
"$target/bin/python" -c 'import hecto, psycopg2, gevent, gunicorn'
tar --create --directory / --sort=name --owner=0 --group=0 --numeric-owner "${target#/}" | zstd --quiet --threads=0 -6 -o /build/release.tar.zst
