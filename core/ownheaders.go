package core

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// OwnHeaderPrefix begins the names of headers that Leat itself sets.
const OwnHeaderPrefix = "leat-"

// CheckHeaders refuses, as CodeInvalidRecord, headers that only Leat itself may set on messages of a topic:
// those whose names begin with OwnHeaderPrefix. Those of dead letters may be set in a topic of dead letters,
// so that it can be filled from a copy.
func CheckHeaders(topic string, headers []Header) error {
	for i := range headers {
		name := headers[i].Key
		if strings.HasPrefix(name, OwnHeaderPrefix) && !settable(name, TakesLetters(topic)) {
			return refuseHeader("publish", name)
		}
	}
	return nil
}

// TakesLetters reports whether a topic is one of dead letters, by its name.
func TakesLetters(topic string) bool {
	_, _, ok := SplitDeadLetterName(topic)
	return ok
}

// settable reports whether a user may set a header whose name begins with OwnHeaderPrefix.
func settable(name string, letters bool) bool {
	return letters && strings.HasPrefix(name, deadLetterPrefix)
}

func refuseHeader(op, name string) error {
	return &Error{Code: CodeInvalidRecord, Op: op,
		Hint: "leave the header out, or give it another name: those that begin with " + OwnHeaderPrefix +
			" are set by Leat itself",
		Err: fmt.Errorf("header %s", Quote(name))}
}

// ownHeaderIn gives the name of the first header in raw that CheckHeaders would refuse, or "". raw has passed
// headersFit; identified says that its first header is the id of the message.
func ownHeaderIn(raw []byte, identified, letters bool) string {
	for first := true; len(raw) > 0; first = false {
		n := int(binary.LittleEndian.Uint16(raw))
		name := raw[6 : 6+n]
		if n >= len(OwnHeaderPrefix) && string(name[:len(OwnHeaderPrefix)]) == OwnHeaderPrefix &&
			!(first && identified) && !settable(string(name), letters) {
			return string(name)
		}
		raw = raw[6+n+int(binary.LittleEndian.Uint32(raw[2:])):]
	}
	return ""
}
