package core

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Action is what somebody wants to do with a topic.
type Action uint8

// The actions.
const (
	ActionPublish  Action = iota + 1 // put messages into it
	ActionRead                       // get messages out of it, and keep a group's place
	ActionDescribe                   // know that it is there: whoever may publish to it or read it
	ActionAdmin                      // everything, with all topics
)

var actionNames = map[Action]string{ActionPublish: "publish", ActionRead: "read", ActionDescribe: "describe",
	ActionAdmin: "admin"}

// String is the name that scopes have.
func (a Action) String() string { return actionNames[a] }

// Scope lets its owner do something with some topics: publish:orders, read:orders.* (all names that begin
// with "orders."), read:* or admin.
type Scope struct {
	Action Action // publish, read or admin
	Topics string // a name, or the beginning of names with * at its end; empty with admin
}

// ParseScope reads a scope.
func ParseScope(text string) (Scope, error) {
	if text == "admin" {
		return Scope{Action: ActionAdmin}, nil
	}
	wrong := Errorf(CodeInvalidConfig, "scope "+Quote(text),
		"want publish:TOPIC, read:TOPIC or admin, where TOPIC "+
			"is a name, or the beginning of names and *")
	name, topics, _ := strings.Cut(text, ":")
	prefix := strings.TrimSuffix(topics, "*")
	for i := range len(prefix) {
		if !nameByte(prefix[i]) {
			return Scope{}, wrong
		}
	}
	if topics == "" || len(topics) > MaxNameBytes {
		return Scope{}, wrong
	}
	for _, action := range []Action{ActionPublish, ActionRead} {
		if name == action.String() {
			return Scope{action, topics}, nil
		}
	}
	return Scope{}, wrong
}

// String is what ParseScope reads.
func (s Scope) String() string {
	if s.Action == ActionAdmin {
		return s.Action.String()
	}
	return s.Action.String() + ":" + s.Topics
}

func (s Scope) allows(action Action, topic string) bool {
	if s.Action == ActionAdmin {
		return true
	}
	if action != s.Action && action != ActionDescribe {
		return false
	}
	prefix, open := strings.CutSuffix(s.Topics, "*")
	return topic == prefix || open && strings.HasPrefix(topic, prefix)
}

// Principal is somebody who may do what the scopes say.
type Principal struct {
	Name   string
	Scopes []Scope
}

// Everyone is who calls a door that has no rules.
var Everyone = &Principal{Scopes: []Scope{{Action: ActionAdmin}}}

// Authorize is the one place that decides: nil if p may do that with the topic. Nobody (nil) may do nothing:
// ErrUnauthenticated; somebody else may do what one of the scopes allows, else ErrDenied.
func Authorize(p *Principal, action Action, topic string) error {
	op := action.String()
	if action != ActionAdmin {
		op += " topic " + Quote(topic)
	}
	if p == nil {
		return NewError(CodeUnauthenticated, op, nil)
	}
	for _, s := range p.Scopes {
		if s.allows(action, topic) {
			return nil
		}
	}
	err := Errorf(CodeDenied, op, "%s has no scope for it", Quote(p.Name))
	err.Hint = "give the token a scope such as " + Scope{min(action, ActionRead), topic}.String()
	if action == ActionAdmin {
		err.Hint = "give the token the scope admin"
	}
	return err
}

// Tokens are those who show a secret. It has only hashes of the secrets.
type Tokens struct {
	byHash map[[sha256.Size]byte]*Principal
}

// HashToken is what a file of tokens has of a secret: its SHA-256 in hexadecimal.
func HashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// ParseTokens reads a file of tokens, one a line: a name, the hash of the secret, and scopes, with spaces
// between. Empty lines and those that begin with # say nothing. A name or a hash that comes twice is an
// error.
func ParseTokens(text string) (*Tokens, error) {
	t := &Tokens{byHash: map[[sha256.Size]byte]*Principal{}}
	names := map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if err := t.add(words, names); err != nil {
			return nil, Errorf(CodeInvalidConfig, "read tokens", "line %d: %w", number, err)
		}
	}
	return t, nil
}

func (t *Tokens) add(words []string, names map[string]bool) error {
	p := &Principal{Name: words[0]}
	if err := ValidateName("token", p.Name); err != nil {
		return err
	}
	if len(words) < 3 {
		return fmt.Errorf("%s: want a name, a hash and at least one scope", Quote(p.Name))
	}
	sum, err := hex.DecodeString(words[1])
	if err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("%s: found the hash %s, want %d hexadecimal digits (leat token create makes them)",
			Quote(p.Name), Quote(words[1]), 2*sha256.Size)
	}
	for _, word := range words[2:] {
		scope, err := ParseScope(word)
		if err != nil {
			return err
		}
		p.Scopes = append(p.Scopes, scope)
	}
	hash := [sha256.Size]byte(sum)
	if names[p.Name] || t.byHash[hash] != nil {
		return fmt.Errorf("%s: the name or its hash comes twice", Quote(p.Name))
	}
	names[p.Name], t.byHash[hash] = true, p
	return nil
}

// Principal is who shows a secret; nil if nobody does. Secrets are looked up by hash, so that the time it
// takes tells nothing about them.
func (t *Tokens) Principal(secret string) *Principal { return t.byHash[sha256.Sum256([]byte(secret))] }
