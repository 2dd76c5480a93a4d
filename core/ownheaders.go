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

// checkOwnHeaders is CheckHeaders for an encoded record that is right otherwise.
func checkOwnHeaders(record []byte, letters bool) error {
	if binary.LittleEndian.Uint32(record[20:]) == 0 {
		return nil
	}
	r, _, err := DecodeRecord(record)
	if err != nil {
		return err
	}
	for raw := r.RawHeaders; len(raw) > 0; { // without the id of the message
		name := raw[6 : 6+int(binary.LittleEndian.Uint16(raw))]
		if len(name) >= len(OwnHeaderPrefix) && string(name[:len(OwnHeaderPrefix)]) == OwnHeaderPrefix &&
			!settable(string(name), letters) {
			return refuseHeader(produceOp, string(name))
		}
		raw = raw[6+len(name)+int(binary.LittleEndian.Uint32(raw[2:])):]
	}
	return nil
}
