# A fork bomb: each process reports its pid and start time to FILE, then starts others for as long as it may.
# usage: BOMB="$(cat bomb.sh)" sh -c "$BOMB" bomb FILE [child], because its user need not be able to read this file
trap '' TERM
file=$1 kind=$2
read -r stat <"/proc/$$/stat"
set -- ${stat##*) }
echo "$$ ${20}" >>"$file"
if [ "$kind" = child ]; then
    while :; do
        sh -c "$BOMB" "$0" "$file" child &
        sleep 0.1
    done
fi
sh -c "$BOMB" "$0" "$file" child &
sh -c "$BOMB" "$0" "$file" child &
wait
sleep 1000
