#!/usr/bin/env bash
# Makes the environment in which the Twisted herd runs:
#
#   venv.sh DIR                  Python 3 (PYTHON names another) and the Twisted of requirements.txt
#   venv.sh DIR --check          the same, and mypy with mypy-zope
#   venv.sh DIR --old PYTHON2.7  Twisted 12.3.0 on Python 2.7, the versions of the assignment
#
# DIR/bin/python runs it. Nothing is done if DIR has been made before from the same requirements.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
(($# >= 1)) || usage
directory=$1

case ${2-} in
'' | --check)
    requirements=$here/requirements${2:+-check}.txt
    made=$(cat "$here"/requirements*.txt; printf '%s' "${2-}")
    [[ -f $directory/made && $(<"$directory/made") == "$made" ]] && exit
    "${PYTHON:-python3}" -m venv "$directory"
    "$directory/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
    printf '%s' "$made" >"$directory/made"
    ;;
--old)
    (($# == 3)) || usage
    # Python 2.7 has no venv, and Twisted 12.3.0 no wheel: a folder of packages, and a command that
    # adds it. zope is a namespace, which a folder outside site-packages is not asked for.
    mkdir -p "$directory/bin"
    "$3" -m pip install --quiet --disable-pip-version-check --target "$directory/packages" \
        'zope.interface==5.5.2' 'Twisted==12.3.0' 2>/dev/null
    touch "$directory/packages/zope/__init__.py"
    printf '#!/bin/sh\nPYTHONPATH=%q PYTHONDONTWRITEBYTECODE=1 exec %q "$@"\n' \
        "$(cd "$directory" && pwd)/packages" "$3" >"$directory/bin/python"
    chmod +x "$directory/bin/python"
    ;;
*) usage ;;
esac
