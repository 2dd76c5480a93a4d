package core

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// ValidateName checks the name a user gives to a topic or group: 1 to 249 bytes of
// [a-zA-Z0-9._-], not "." or "..", not starting with "__". kind is "topic" or "group".
func ValidateName(kind, name string) error {
	if err := validateSpelling(kind, name); err != nil {
		return err
	}
	if strings.HasPrefix(name, "__") {
		return Errorf(CodeInvalidName, kind+" "+Quote(name), "names that start with __ are reserved")
	}
	return nil
}

// ValidateStoredName checks a name read back from the catalogue, where internal names occur.
func ValidateStoredName(kind, name string) error { return validateSpelling(kind, name) }

func validateSpelling(kind, name string) error {
	op := kind + " " + Quote(name)
	switch {
	case name == "":
		return Errorf(CodeInvalidName, op, "the name is empty")
	case len(name) > MaxNameBytes:
		return Errorf(CodeInvalidName, op, "%d bytes, at most %d", len(name), MaxNameBytes)
	case name == "." || name == "..":
		return Errorf(CodeInvalidName, op, "%q is a folder, not a name", name)
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			_, size := utf8.DecodeRuneInString(name[i:])
			return Errorf(CodeInvalidName, op, "byte %d is %+q", i, name[i:i+size])
		}
	}
	return nil
}

func nameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// Quote shows outside input in an error: control bytes escaped, cut at 40 bytes.
func Quote(s string) string {
	const shown = 40
	if len(s) > shown {
		return strconv.QuoteToASCII(s[:shown]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
