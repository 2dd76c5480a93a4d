package node

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/transport/wire"
)

const (
	delayLook   = 1 << 16 // messages the loop looks at in one go for a list
	delayRound  = 1024    // messages read for a page in one go
	delayRounds = 8
)

// delaySearch is a list of delayed messages under way.
type delaySearch struct {
	delays   *delays
	filter   *leat.DelayFilter
	topic    uint64 // 0: all
	from, to int64  // ns
	after    core.DelayEntry
	page     []leat.DelayedMessage
	places   []core.DelayEntry // of the messages of the page
	bytes    int               // of their keys
	reader   *mmaplog.Reader
}

// Delayed implements leat.Backend.
func (n *Node) Delayed(ctx context.Context, filter leat.DelayFilter) (leat.DelayedPage, error) {
	page, _, next, err := n.listDelayed(ctx, &filter)
	out := leat.DelayedPage{Messages: page}
	if next != nil {
		out.Next = next.String()
	}
	return out, err
}

// listDelayed gives a page of what waits on this node, where each of it is, and where the next page begins.
func (n *Node) listDelayed(ctx context.Context, filter *leat.DelayFilter) (
	page []leat.DelayedMessage, places []core.DelayPlace, next *core.DelayPlace, err error,
) {
	after, err := core.ParseDelayPlace(filter.After)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := n.delays.part.refusal(); err != nil {
		return nil, nil, nil, err
	}
	s := delaySearch{delays: n.delays, filter: filter, after: after.On(n.id())}
	s.from, s.to = filter.Span()
	if filter.Topic != "" {
		t, err := n.topicFor("list delayed messages of", filter.Topic)
		if err != nil {
			return nil, nil, nil, err
		}
		s.topic = t.id
	}
	s.reader = n.delays.part.log.Reader(0)
	defer s.reader.Close()
	more, err := s.run(ctx)
	for _, at := range s.places {
		places = append(places, core.DelayPlace{Due: at.Due, Node: n.id(), Offset: at.Offset})
	}
	if more {
		next = &core.DelayPlace{Due: s.after.Due, Node: n.id(), Offset: s.after.Offset}
	}
	return s.page, places, next, err
}

// run fills the page, and reports whether there may be more behind it.
func (s *delaySearch) run(ctx context.Context) (more bool, err error) {
	round := delayRound
	if s.topic == 0 && s.filter.Key == nil {
		round = s.filter.Limit
	}
	for range delayRounds {
		candidates, err := s.nearest(ctx, round)
		if err != nil {
			return false, err
		}
		for _, e := range candidates {
			s.after = e
			if err := s.look(e); err != nil {
				return false, err
			}
			if len(s.page) == s.filter.Limit || s.bytes >= wire.MaxDelayedBytes {
				return true, nil
			}
		}
		if len(candidates) < round {
			return false, nil
		}
	}
	return true, nil
}

// nearest gives the first messages behind the place the search has come to, by due time. It looks at all that
// wait, a part at a time, so that nothing is delivered late meanwhile.
func (s *delaySearch) nearest(ctx context.Context, most int) ([]core.DelayEntry, error) {
	var best []core.DelayEntry
	full := false // best[most-1] is the last of so many
	cut := func() {
		slices.SortFunc(best, core.DelayEntry.Compare)
		best = slices.CompactFunc(best, func(a, b core.DelayEntry) bool { return a.Offset == b.Offset })
		best = best[:min(len(best), most)]
		full = len(best) == most
	}
	lowest, highest := s.from/1e6, s.to/1e6+1 // an entry has the millisecond at or after what is due
	for next, done := int64(0), false; !done; {
		err := s.delays.do(ctx, "list delayed messages", func(l *delayLoop) {
			next, done = l.state.Scan(next, delayLook, func(e core.DelayEntry) {
				if e.Due < lowest || e.Due > highest || e.Compare(s.after) <= 0 ||
					full && e.Compare(best[most-1]) >= 0 {
					return
				}
				if best = append(best, e); len(best) >= 2*most {
					cut()
				}
			})
		})
		if err != nil {
			return nil, err
		}
		cut()
	}
	return best, nil
}

// look reads a message and puts it on the page if it fits the filter.
func (s *delaySearch) look(e core.DelayEntry) error {
	r, stored, found, err := recordAt(s.reader, e.Offset)
	if err != nil || !found {
		return err
	}
	d, err := core.DecodeDelayRecord(&r)
	if err != nil || d.Kind != core.DelayMessage {
		return err
	}
	m := &d.Message
	due := m.DueAt(stored)
	if s.topic != 0 && m.Topic != s.topic || due < s.from || due >= s.to {
		return nil
	}
	record, _, err := core.DecodeRecord(m.Record)
	if err != nil {
		return err
	}
	t := s.delays.node.topicWithID(m.Topic)
	if t == nil || s.filter.Key != nil && (record.Key == nil || !bytes.Equal(record.Key, s.filter.Key)) {
		return nil
	}
	h := core.DelayHandle{Topic: m.Topic, Partition: m.Partition, Offset: e.Offset, Tag: d.Key.Tag()}
	s.places = append(s.places, e)
	s.bytes += len(record.Key)
	s.page = append(s.page, leat.DelayedMessage{
		Handle: h.String(), Topic: t.name, Partition: m.Partition, Due: time.Unix(0, due),
		Stored: time.Unix(0, stored), Key: bytes.Clone(record.Key), Bytes: len(m.Record),
	})
	return nil
}
