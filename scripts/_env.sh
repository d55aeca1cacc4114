# Sourced by the other scripts: a virtual environment in .venv with modalkit and the named extras.
# Prints one line per step; the packages' own output goes to .venv/install.log.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON="${PYTHON:-python3}"

fail() { printf '%s\n' "$*" >&2; exit 1; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  fail "modalkit needs Python 3.11 or newer; '$PYTHON' is $("$PYTHON" --version 2>&1 || echo missing). Set PYTHON=/path/to/python3.11."

# install EXTRAS: make .venv hold the checkout with these extras; nothing to do is quick.
install() {
  local extras="$1" stamp
  stamp=".venv/installed-$(printf '%s' "$extras" | tr ',' '-')"
  [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv || fail "could not make .venv; is python3-venv installed?"
  if [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt scripts/constraints.txt ]; then return; fi
  printf 'installing modalkit[%s] into .venv (a few minutes the first time)\n' "$extras"
  .venv/bin/python -m pip install --disable-pip-version-check --constraint scripts/constraints.txt \
    --editable ".[$extras]" >.venv/install.log 2>&1 || { tail -20 .venv/install.log >&2; fail "the installation failed; all of it is in .venv/install.log"; }
  touch "$stamp"
}
