package demo

import "fmt"

// Fault is what the handler of the plain audience is made to see, to show that the check works.
type Fault uint8

// The faults.
const (
	FaultNone  Fault = iota
	FaultLost        // one message is dropped
	FaultDup         // one message comes twice
	FaultOrder       // one message comes after the next of its key
)

// ParseFault reads lost, dup or order; empty is none.
func ParseFault(name string) (Fault, error) {
	for i, known := range [...]string{"", "lost", "dup", "order"} {
		if name == known {
			return Fault(i), nil
		}
	}
	return FaultNone, fmt.Errorf("demo: fault %q: want lost, dup or order", name)
}

// faultAt is the number of the message a fault hits.
const faultAt = 100

// saboteur stands between the bus and the check and plays one fault. It belongs to one goroutine.
type saboteur struct {
	fault  Fault
	check  func(payload)
	passed int
	held   payload
	holds  bool
}

// pass hands a message on, as the fault will have it.
func (s *saboteur) pass(p payload) {
	if s.fault == FaultNone {
		s.check(p)
		return
	}
	s.passed++
	hit := s.passed == faultAt
	switch {
	case hit && s.fault == FaultLost:
	case hit && s.fault == FaultDup:
		s.check(p)
		s.check(p)
	case hit && s.fault == FaultOrder:
		s.held, s.holds = p, true
	case s.holds && s.held.key == p.key:
		s.holds = false
		s.check(p)
		s.check(s.held)
	default:
		s.check(p)
	}
}

// end lets go of what is still held.
func (s *saboteur) end() {
	if s.holds {
		s.holds = false
		s.check(s.held)
	}
}
