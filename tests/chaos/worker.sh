# A worker that keeps its own account: what it started, wrote, and is about to exit with.
# usage: sh worker.sh DIR GENERATION BURSTS CODE obey|trap|ignore [leave]
#
# DIR/NAME gets "RUN start GENERATION", "RUN line N" after each line on stdout, "RUN end CODE"; and "RUN contended" if anything
# of an earlier run is still alive: every process of a run inherits the lock (FLOCK=true where there is no flock).
# leave: a child in a session of its own lives on.
run=$RDAGENTD_RUN own=$1/$RDAGENTD_WORKER left=$3 code=$4
exec 9>>"$own.lock"
"${FLOCK:-flock}" -n 9 || echo "$run contended" >>"$own"
echo "$run start $2" >>"$own"
finish() {
    trap '' TERM USR1
    echo "$run end $1" >>"$own"
    exit "$1"
}
case $5 in
ignore) trap '' TERM ;;
trap) trap 'finish 43' TERM ;;
esac
if [ "$6" = leave ]; then setsid sleep 1000 & fi
pad=$(printf '%0*d' "$PAD" 0)
n=0
while [ "$left" -ne 0 ]; do
    left=$((left - 1)) i=0
    while [ $i -lt 5 ]; do
        i=$((i + 1)) n=$((n + 1))
        printf '%s %d %s\n' "$run" $n "$pad"
        echo "$run line $n" >>"$own"
    done
    sleep "$PAUSE" &
    wait $!
done
finish "$code"
