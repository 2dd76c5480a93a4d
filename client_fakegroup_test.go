package leat

import (
	"fmt"
	"slices"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// member serves a member stream: each partition that nobody has goes to who joins. Tests move them.
func (n *fakeNode) member(s *fakeStream, payload []byte) error {
	f := n.cluster
	var join wire.JoinBody
	if err := wire.Unmarshal(wire.Join, payload, &join); err != nil {
		return err
	}
	f.mu.Lock()
	t := f.topics[join.Topic]
	if t == nil {
		f.mu.Unlock()
		return core.ErrTopicNotFound
	}
	g := f.groups[join.Group]
	if g == nil {
		g = &fakeGroup{topic: t, committed: map[int32]int64{}, owner: map[int32]*fakeMember{}}
		f.groups[join.Group] = g
	}
	g.gen++
	m := &fakeMember{group: g, stream: s, owned: map[int32]int32{}, name: fmt.Sprint("m", g.gen)}
	f.mu.Unlock()
	if err := s.json(wire.Header{Type: wire.Joined}, wire.JoinedBody{Member: m.name,
		TopicID: t.id}); err != nil {
		return err
	}
	f.mu.Lock()
	g.members = append(g.members, m) // what another one leaves is not assigned to it before
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer func() {
			left := slices.Clone(g.members)
			f.mu.Unlock()
			for _, other := range left {
				for p := range t.parts {
					_ = f.assign(other, int32(p)) // one whose stream has ended is not assigned anything
				}
			}
		}()
		for p, owner := range g.owner {
			if owner == m {
				delete(g.owner, p)
			}
		}
		for i, other := range g.members {
			if other == m {
				g.members = append(g.members[:i], g.members[i+1:]...)
				break
			}
		}
	}()
	for p := range t.parts {
		if err := f.assign(m, int32(p)); err != nil {
			return err
		}
	}
	for {
		h, payload, err := s.next()
		if err != nil {
			return err
		}
		if over, err := f.memberFrame(m, h, payload); over || err != nil {
			return err
		}
	}
}

// assign gives a partition that nobody has to a member.
func (f *fakeCluster) assign(m *fakeMember, p int32) error {
	f.mu.Lock()
	g := m.group
	if g.owner[p] != nil {
		f.mu.Unlock()
		return nil
	}
	g.owner[p], m.owned[p] = m, g.gen
	committed, ok := g.committed[p]
	if !ok {
		committed = -1
	}
	gen := g.gen
	f.mu.Unlock()
	return m.stream.send(wire.Header{Type: wire.Assign, Aux: uint16(p), Arg: uint64(committed)},
		wire.AppendAssign(nil, gen))
}

// revoke asks the only member for a partition.
func (f *fakeCluster) revoke(group string, p int32) {
	f.mu.Lock()
	m := f.groups[group].owner[p]
	gen := m.owned[p]
	f.mu.Unlock()
	if err := m.stream.send(wire.Header{Type: wire.Revoke, Aux: uint16(p), Arg: uint64(gen)}, nil); err != nil {
		f.t.Error(err)
	}
}

// fence throws the only member out.
func (f *fakeCluster) fence(group string, code core.Code) {
	f.mu.Lock()
	m := f.groups[group].members[0]
	f.mu.Unlock()
	if err := m.stream.json(wire.Header{Type: wire.Fenced, Aux: uint16(code)},
		wire.ErrorBody{Op: "fence"}); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeCluster) committed(group string, p int32) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.groups[group]; g != nil {
		if at, ok := g.committed[p]; ok {
			return at
		}
	}
	return -1
}

func (f *fakeCluster) owns(group string, p int32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[group]
	return g != nil && g.owner[p] != nil
}

func (f *fakeCluster) memberFrame(m *fakeMember, h wire.Header, payload []byte) (over bool, err error) {
	switch h.Type {
	case wire.MemberAck, wire.Commit:
		entries, err := wire.DecodeAcked(payload, nil)
		if err != nil {
			return true, f.wrong("%w", err)
		}
		f.mu.Lock()
		for _, e := range entries {
			if m.group.owner[e.Partition] == m && m.owned[e.Partition] == e.Generation {
				m.group.committed[e.Partition] = e.Offset
			}
		}
		f.mu.Unlock()
		if h.Type == wire.Commit {
			return false, m.stream.send(wire.Header{Type: wire.Committed, Arg: h.Arg}, nil)
		}
	case wire.Drained:
		f.mu.Lock()
		defer f.mu.Unlock()
		p := int32(h.Aux)
		if m.group.owner[p] != m || m.owned[p] != int32(h.Arg) {
			f.errs = append(f.errs, fmt.Errorf("DRAINED of partition %d, generation %d", p, h.Arg))
		}
		delete(m.group.owner, p)
		m.group.gen++
	case wire.Leave:
		return true, m.stream.send(wire.Header{Type: wire.Left}, nil)
	default:
		return true, f.wrong("%v on a member stream", h.Type)
	}
	return false, nil
}
