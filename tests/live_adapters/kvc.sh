#!/bin/bash
# The command-line client `kvc` of adapters/README.md: kvc --at=HOST:PORT get|put KEY. In bash,
# which starts within milliseconds and can open a connection: there is one for every call.
at=${1#--at=} verb=$2 key=$3
value=
[ "$verb" = get ] || IFS= read -r -d '' value

# Everything but letters and digits is percent-encoded; keys are ASCII here.
path=
for ((i = 0; i < ${#key}; i++)); do
    c=${key:i:1}
    case $c in
    [a-zA-Z0-9]) path+=$c ;;
    *) printf -v c '%%%02X' "'$c" && path+=$c ;;
    esac
done

exec 3<>"/dev/tcp/${at%:*}/${at##*:}" || { echo 'not sent' >&2; exit 1; }
if [ "$verb" = get ]; then
    printf 'GET /k/%s HTTP/1.1\r\nConnection: close\r\n\r\n' "$path" >&3
else
    printf 'POST /k/%s HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
        "$path" "${#value}" "$value" >&3
fi
read -r _ status _ <&3
while IFS= read -r line <&3 && [ "$line" != $'\r' ]; do :; done
case $verb-$status in
get-200) IFS= read -r -d '' body <&3 || printf %s "$body" ;;
get-404) exit 3 ;;
put-204) ;;
*) exit 2 ;;
esac
