package leat

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// producer serves a producer stream by the rules of docs/protocol.md.
func (n *fakeNode) producer(s *fakeStream, payload []byte) error {
	f := n.cluster
	var open wire.ProducerOpenBody
	if err := wire.Unmarshal(wire.ProducerOpen, payload, &open); err != nil {
		return err
	}
	f.mu.Lock()
	t := f.topics[open.Topic]
	if t == nil {
		f.mu.Unlock()
		return core.ErrTopicNotFound
	}
	ok := wire.ProducerOKBody{TopicID: t.id, MaxRecordBytes: t.cfg.MaxRecordBytes}
	if open.Name != "" {
		if open.Resume && t.names[open.Name] != open.Instance {
			f.mu.Unlock()
			return core.ErrProducerFenced
		}
		if t.names[open.Name] != open.Instance {
			t.names[open.Name] = open.Instance
			t.epochs[open.Name]++
			f.wake.Broadcast()
		}
		ok.Epoch = t.epochs[open.Name]
	}
	for _, p := range open.Partitions {
		if f.placed(p.Partition) != n.id {
			continue
		}
		part := t.parts[p.Partition]
		a := wire.ProducerPartition{Partition: p.Partition, Epoch: p.Epoch, NextSeq: p.NextSeq}
		if epoch, next, known := part.state.Producer(open.ProducerID); known && epoch >= p.Epoch {
			a.Epoch, a.NextSeq = epoch, next
		}
		if part.lose != nil {
			a.LostFrom, a.LostTo = part.lose()
			part.lose = nil
			a.Epoch, a.NextSeq = p.Epoch+1, 0
		}
		ok.Partitions = append(ok.Partitions, a)
	}
	f.mu.Unlock()
	if err := s.json(wire.Header{Type: wire.ProducerOK, Arg: f.window}, ok); err != nil {
		return err
	}
	return n.takeProduce(s, t, &open)
}

// takeProduce serves an open producer stream.
func (n *fakeNode) takeProduce(s *fakeStream, t *fakeTopic, open *wire.ProducerOpenBody) error {
	f := n.cluster
	received, granted := uint64(0), f.window
	for {
		h, frame, err := s.next()
		if err != nil {
			return err
		}
		if h.Type != wire.Produce {
			return f.wrong("%v on a producer stream", h.Type)
		}
		if received >= granted {
			return f.wrong("PRODUCE at %d of %d bytes of credit", received, granted)
		}
		received += uint64(h.Size())
		entry, err := n.produce(t, open, int32(h.Aux), frame)
		if err != nil {
			return err
		}
		if open.ProducerID != 0 {
			if err := s.send(wire.Header{Type: wire.Acks}, entry.Append(nil)); err != nil {
				return err
			}
		}
		if received+f.window/2 > granted {
			granted = received + f.window
			if err := s.send(wire.Header{Type: wire.Credit, Arg: granted}, nil); err != nil {
				return err
			}
		}
	}
}

// produce appends one frame by the rules of core.Partition.
func (n *fakeNode) produce(t *fakeTopic, open *wire.ProducerOpenBody, number int32,
	frame []byte) (wire.AckEntry, error) {
	f := n.cluster
	h := core.ParseFrameHeader(frame)
	payload := frame[core.FrameHeaderSize:h.Length]
	if err := core.CheckProduced(&h, payload, t.cfg.MaxRecordBytes, false); err != nil {
		return wire.AckEntry{}, f.wrong("PRODUCE: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := t.parts[number]
	e := wire.AckEntry{Partition: uint16(number), Records: h.Records, BaseSeq: h.BaseSeq,
		Epoch: h.ProducerEpoch, Offset: -1}
	if f.topics[t.name] != t {
		e.Code = core.CodeTopicNotFound
		return e, nil
	}
	if open.Name != "" && t.names[open.Name] != open.Instance {
		return e, core.ErrProducerFenced
	}
	if f.answer != nil {
		if e.Code = f.answer(p, &h); e.Code != 0 {
			return e, nil
		}
	}
	if node := f.placed(number); node != n.id {
		e.Code, e.Node = core.CodeNotLeader, node
		return e, nil
	}
	in := core.PartitionInput{Kind: core.InputAppend, ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch,
		BaseSeq: h.BaseSeq, Records: int32(h.Records), Time: 1}
	var out core.Effects
	p.state.Step(&in, 1, &out)
	switch effect := out.List[0]; effect.Kind {
	case core.EffectReject:
		e.Code = effect.Code
	case core.EffectDuplicate:
		e.Flags, e.Offset, e.Time = wire.AckDuplicate, effect.Lo, 1
	default:
		in.Kind, in.Offset = core.InputWritten, effect.Hi
		p.state.Step(&in, 1, &out)
		stored := slices.Clone(frame)
		binary.LittleEndian.PutUint64(stored[16:], uint64(effect.Lo))
		binary.LittleEndian.PutUint64(stored[24:], 1)
		p.frames = append(p.frames, fakeFrame{base: effect.Lo, next: effect.Hi, bytes: stored,
			producer: h.ProducerID})
		e.Offset, e.Time = effect.Lo, 1
		f.wake.Broadcast()
	}
	return e, nil
}

// values gives the values of all records of a partition, in order.
func (f *fakeCluster) values(p *fakePart) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, frame := range p.frames {
		h := core.ParseFrameHeader(frame.bytes)
		for rest := frame.bytes[core.FrameHeaderSize:h.Length]; len(rest) > 0; {
			r, n, err := core.DecodeRecord(rest)
			if err != nil {
				f.t.Fatal(err)
			}
			list = append(list, string(r.Value))
			rest = rest[n:]
		}
	}
	return list
}

// fakeReader is the sending half of a subscription stream.
type fakeReader struct {
	next    map[int32]int64
	sent    uint64
	credit  uint64
	pending []func() error
	ended   bool
}

// subscription serves a subscription stream.
func (n *fakeNode) subscription(s *fakeStream, h wire.Header, payload []byte) error {
	f := n.cluster
	var open wire.SubscribeBody
	if err := wire.Unmarshal(wire.Subscribe, payload, &open); err != nil {
		return err
	}
	f.mu.Lock()
	t := f.topics[open.Topic]
	if t == nil {
		f.mu.Unlock()
		return core.ErrTopicNotFound
	}
	r := &fakeReader{next: map[int32]int64{}, credit: h.Arg}
	answer := wire.SubscribedBody{TopicID: t.id, Partitions: t.places(open.Partitions)}
	for _, p := range answer.Partitions {
		if p.Code == 0 {
			r.next[p.Partition] = p.Offset
		}
	}
	f.mu.Unlock()
	if err := s.json(wire.Header{Type: wire.Subscribed}, answer); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := n.sendBatches(s, t, r)
		if err != nil {
			s.Reset(core.CodeOf(err))
		}
		done <- err
	}()
	err := n.readSubscription(s, t, r)
	f.mu.Lock()
	r.ended = true
	f.wake.Broadcast()
	f.mu.Unlock()
	s.Reset(0)
	if sent := <-done; sent != nil {
		err = sent
	}
	return err
}

func (n *fakeNode) readSubscription(s *fakeStream, t *fakeTopic, r *fakeReader) error {
	f := n.cluster
	for {
		h, _, err := s.next()
		if err != nil {
			return err
		}
		f.mu.Lock()
		switch h.Type {
		case wire.Credit:
			r.credit = max(r.credit, h.Arg)
		case wire.Add:
			if p := t.parts[h.Aux]; int64(h.Arg) < p.start || int64(h.Arg) > p.state.LogEnd() {
				r.pending = append(r.pending, func() error { return outOfRange(s, int32(h.Aux)) })
			} else {
				r.next[int32(h.Aux)] = int64(h.Arg)
			}
		case wire.Remove:
			delete(r.next, int32(h.Aux))
		default:
			err = fmt.Errorf("%v on a subscription stream", h.Type)
		}
		f.wake.Broadcast()
		f.mu.Unlock()
		if err != nil {
			return f.wrong("%w", err)
		}
	}
}

func outOfRange(s *fakeStream, partition int32) error {
	return s.json(wire.Header{Type: wire.PartitionFailed, Aux: uint16(partition),
		Arg: uint64(core.CodeOffsetOutOfRange)},
		wire.ErrorBody{Op: "read", Cause: "from the fake"})
}

// sendBatches sends what there is, within the credit.
func (n *fakeNode) sendBatches(s *fakeStream, t *fakeTopic, r *fakeReader) error {
	f := n.cluster
	f.mu.Lock()
	defer f.mu.Unlock()
	for !r.ended && !s.closed.Load() {
		if f.topics[t.name] != t {
			return core.ErrTopicNotFound
		}
		if len(r.pending) > 0 {
			send := r.pending[0]
			r.pending = r.pending[1:]
			f.mu.Unlock()
			err := send()
			f.mu.Lock()
			if err != nil {
				return nil // the stream has ended
			}
			continue
		}
		number, at, run := r.takeLocked(t)
		if run == nil {
			f.wake.Wait()
			continue
		}
		f.mu.Unlock()
		var err error
		if number >= 0 {
			err = s.send(wire.Header{Type: wire.Batch, Aux: uint16(number), Arg: uint64(at)}, run)
		}
		f.mu.Lock()
		if err != nil {
			return nil // the reading side sees it too
		}
	}
	return nil
}

// takeLocked gives a run of frames that may be sent.
func (r *fakeReader) takeLocked(t *fakeTopic) (number int32, at int64, run []byte) {
	if r.sent >= r.credit {
		return 0, 0, nil
	}
	for number, next := range r.next {
		p := t.parts[number]
		for _, frame := range p.frames {
			if frame.next <= next || next < p.start || len(run) > 32<<10 {
				continue
			}
			run = append(run, frame.bytes...)
			r.next[number] = frame.next
		}
		if len(run) > 0 {
			r.sent += uint64(wire.HeaderSize + len(run))
			return number, next, run
		}
	}
	return 0, 0, nil
}
