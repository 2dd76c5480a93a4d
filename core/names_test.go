package core

import (
	"strings"
	"testing"
)

func TestValidateName(t *testing.T) {
	tests := []struct {
		name   string
		user   bool // a user may give it
		stored bool // the catalogue may hold it
	}{
		{"trades", true, true},
		{"A-z_0.9", true, true},
		{"_", true, true},
		{"_x", true, true},
		{"...", true, true},
		{".hidden", true, true},
		{"-rf", true, true},
		{strings.Repeat("a", MaxNameBytes), true, true},
		{"__x", false, true},
		{"__", false, true},
		{"__meta", false, true},
		{"", false, false},
		{".", false, false},
		{"..", false, false},
		{"../x", false, false},
		{"a/b", false, false},
		{`a\b`, false, false},
		{strings.Repeat("a", 250), false, false},
		{"a b", false, false},
		{"a\x00b", false, false},
		{"a\nb", false, false},
		{"\x1b[31mred", false, false},
		{"a\x7f", false, false},
		{"café", false, false},
		{"日本", false, false},
		{"a\xffb", false, false},
		{"a:b", false, false},
		{"*", false, false},
	}
	for _, tt := range tests {
		for _, kind := range []string{"topic", "group"} {
			if err := ValidateName(kind, tt.name); (err == nil) != tt.user {
				t.Errorf("ValidateName(%q, %q) = %v, want valid %v", kind, tt.name, err, tt.user)
			} else if err != nil && CodeOf(err) != CodeInvalidName {
				t.Errorf("ValidateName(%q, %q) = %v, want %v", kind, tt.name, err, CodeInvalidName)
			}
			if err := ValidateStoredName(kind, tt.name); (err == nil) != tt.stored {
				t.Errorf("ValidateStoredName(%q, %q) = %v, want valid %v", kind, tt.name, err, tt.stored)
			}
		}
	}
}

func TestInvalidNameSaysWhere(t *testing.T) {
	tests := []struct{ name, want string }{
		{"café", `topic "caf\u00e9": invalid name: byte 3 is "\u00e9"`},
		{"a\xffb", `byte 1 is "\xff"`},
		{"a\x1bb", `byte 1 is "\x1b"`},
		{"__x", "names that start with __ are reserved"},
		{strings.Repeat("a", 250), "250 bytes, at most 249"},
		{"..", "is a folder"},
	}
	for _, tt := range tests {
		if err := ValidateName("topic", tt.name); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ValidateName(%q) = %v, want %q in it", tt.name, err, tt.want)
		}
	}
}

func TestQuote(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", `""`},
		{"a\tb\x1b", `"a\tb\x1b"`},
		{strings.Repeat("x", 40), `"` + strings.Repeat("x", 40) + `"`},
		{strings.Repeat("x", 41), `"` + strings.Repeat("x", 40) + `"…`},
	}
	for _, tt := range tests {
		if got := Quote(tt.in); got != tt.want {
			t.Errorf("Quote(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzTopicName: a valid name is 1 to 249 bytes of the allowed set, is its own base name on every
// file system, and is not reserved; an error has the right code and only printable ASCII but for
// the mark of a cut name, whatever the name was; the stored rule allows all that the user's does.
func FuzzTopicName(f *testing.F) {
	for _, seed := range []string{"", ".", "..", "../x", "__x", "trades", "a\x00", "café", "\xff\xfe"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := ValidateName("topic", name)
		if err == nil {
			if len(name) < 1 || len(name) > 249 || name == "." || name == ".." ||
				strings.HasPrefix(name, "__") || strings.Trim(name, allowedInNames) != "" {
				t.Fatalf("ValidateName(%q) = nil", name)
			}
			if err := ValidateStoredName("topic", name); err != nil {
				t.Fatalf("ValidateStoredName(%q) = %v, but a user may give it", name, err)
			}
			return
		}
		if CodeOf(err) != CodeInvalidName {
			t.Fatalf("ValidateName(%q) = %v, want %v", name, err, CodeInvalidName)
		}
		for _, c := range err.Error() {
			if (c < ' ' || c > '~') && c != '…' {
				t.Fatalf("ValidateName(%q) = %q: has %q", name, err.Error(), c)
			}
		}
	})
}

const allowedInNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
