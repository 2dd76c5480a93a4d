#!/bin/sh
# Publishes, reads and follows a topic with curl.
# usage: curl.sh URL TOPIC
set -eu
base=${1:?URL of the HTTP door} topic=${2:?topic}
messages=$base/v1/topics/$topic/messages
events=$base/v1/topics/$topic/events

request() {
	curl -fsS ${LEAT_TOKEN:+-H "Authorization: Bearer $LEAT_TOKEN"} "$@"
}

# field NAME prints a number or text of one flat JSON document.
field() {
	sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"
}

# values prints the values of messages, one a line.
values() {
	tr '{' '\n' | sed -n '/"topic":/s/.*"value":"\([^"]*\)".*/\1/p'
}

receipt=$(request -H 'Content-Type: text/plain' -H 'Leat-Key: user-1' --data-binary hello "$messages")
echo "published at $(echo "$receipt" | field partition):$(echo "$receipt" | field offset)"

# One line, one message. curl reads the answers while it sends, so the stream may go on for ever.
printf '{"key":"user-1","value":"%s"}\n' one two three |
	request -H 'Content-Type: application/x-ndjson' --data-binary @- "$messages?receipts=summary" |
	sed -n 's/.*"published":\([0-9]*\),"failed":\([0-9]*\).*/published \1 more, \2 failed/p'

# A page ends with next, where the following one begins.
next=earliest
while :; do
	page=$(request "$messages?limit=2&from=$next")
	texts=$(echo "$page" | values)
	[ -n "$texts" ] || break
	echo "$texts" | sed 's/^/read /'
	next=$(echo "$page" | field next)
done

# follow FROM COUNT prints so many messages and leaves the place behind them in $id.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
follow() {
	rm -f "$folder/events"
	mkfifo "$folder/events"
	# Not by request: what is started is to be curl itself, so that it can be ended.
	curl -fsSN ${LEAT_TOKEN:+-H "Authorization: Bearer $LEAT_TOKEN"} -H "Last-Event-ID: $1" "$events" \
		>"$folder/events" &
	stream=$! count=0
	while [ "$count" -lt "$2" ] && read -r line; do
		case $line in
		'id: '*) id=${line#id: } ;;
		'data: '*)
			echo "followed $(echo "$line" | values)"
			count=$((count + 1))
			;;
		esac
	done <"$folder/events"
	kill "$stream" 2>/dev/null || true
	wait "$stream" 2>/dev/null || true
}

follow earliest 2
echo "connection dropped at $id"
follow "$id" 2

# A worker of a queue group: it gets messages with a token each, and says by it what became of them.
group=$base/v1/topics/$topic/groups/workers
pull() {
	request -X POST "$group/pull?max=1&wait=20"
}

# settle VERB BODY prints for how many messages it was in time.
settle() {
	request -H 'Content-Type: application/json' -d "$2" "$group/$1" | field done
}

tokens=
for _ in 1 2 3 4; do
	message=$(pull)
	echo "pulled $(echo "$message" | values)"
	tokens="$tokens \"$(echo "$message" | field token)\""
done
# shellcheck disable=SC2086
set -- $tokens
settle nack "{\"tokens\":[$1],\"delay_ms\":0}" >/dev/null
echo "acked $(settle ack "{\"tokens\":[$2,$3,$4]}")"
again=$(pull)
echo "pulled $(echo "$again" | values), attempt $(echo "$again" | field attempt)"
echo "acked $(settle ack "{\"tokens\":[\"$(echo "$again" | field token)\"]}")"
