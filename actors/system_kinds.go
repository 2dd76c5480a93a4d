package actors

import "strings"

// Kinds counts the live actors by kind: node, topic, partition, producer, group, member, and user for those
// that Spawn of this package started.
func (s *System) Kinds() map[string]int {
	kinds := make(map[string]int)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.entries {
		kinds[kindOf(name, e.user)]++
	}
	return kinds
}

// kindOf tells the kind of an actor by its name, which is node, group/<topic>/<group>, topic/<id> or
// topic/<id>/<partition>, and so on.
func kindOf(name string, user bool) string {
	kind, rest, _ := strings.Cut(name, "/")
	switch {
	case user:
		return "user"
	case kind == "topic" && strings.Contains(rest, "/"):
		return "partition"
	}
	return kind
}
