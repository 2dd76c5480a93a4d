package core

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
)

// modelProducer is the oracle's memory of one producer: every batch ever written, in order.
type modelProducer struct {
	epoch    int16
	lastSeen int64
	batches  []PartitionInput // Offset is that of the first record
}

// partitionModel is the oracle: it keeps whole histories and judges by the plain words of the rule.
type partitionModel struct {
	logEnd, durableEnd int64
	producers          map[int64]*modelProducer
}

func (m *partitionModel) judge(in PartitionInput, now int64) Effect {
	next := appended(m.logEnd, m.logEnd+int64(in.Records))
	p := m.producers[in.ProducerID]
	if in.ProducerID == 0 || p == nil || now-p.lastSeen >= ProducerIdleNanos {
		return next
	}
	if in.ProducerEpoch != p.epoch {
		newer := (int(in.ProducerEpoch) - int(p.epoch) + 1<<15) % (1 << 15)
		switch {
		case newer >= 1<<14:
			return rejected(CodeProducerFenced)
		case in.BaseSeq != 0:
			return rejected(CodeOutOfSequence)
		}
		return next
	}
	last := p.batches[len(p.batches)-1]
	if int64(in.BaseSeq) == (int64(last.BaseSeq)+int64(last.Records))%(1<<31) {
		return next
	}
	for _, known := range p.batches[max(0, len(p.batches)-5):] {
		for i := range int64(known.Records) {
			same := (int64(known.BaseSeq)+i)%(1<<31) == int64(in.BaseSeq)
			if same && i+int64(in.Records) <= int64(known.Records) {
				again := duplicate(known.Offset+i, known.Offset+i+int64(in.Records))
				again.Time = known.Time
				return again
			}
		}
	}
	return rejected(CodeOutOfSequence)
}

func (m *partitionModel) written(in PartitionInput, now int64) {
	if in.ProducerID != 0 {
		p := m.producers[in.ProducerID]
		follows := p != nil && p.epoch == in.ProducerEpoch && now-p.lastSeen < ProducerIdleNanos &&
			m.judge(in, now) == appended(m.logEnd, m.logEnd+int64(in.Records))
		if !follows {
			p = &modelProducer{epoch: in.ProducerEpoch}
			m.producers[in.ProducerID] = p
		}
		in.Offset = m.logEnd
		p.batches, p.lastSeen = append(p.batches, in), now
	}
	m.logEnd += int64(in.Records)
}

// randomBatch is mostly the next one, sometimes a retry, a gap, another epoch or a part.
func (m *partitionModel) randomBatch(random *rand.Rand) PartitionInput {
	in := batch(int64(random.Intn(4)), 0, 0, int32(1+random.Intn(3)))
	p := m.producers[in.ProducerID]
	if p == nil {
		in.BaseSeq = sequenceMask - int32(random.Intn(20)) // so that sequences wrap
		if in.ProducerID != 0 {
			in.ProducerEpoch = epochMask - int16(random.Intn(3)) // and epochs
		}
		return in
	}
	last := p.batches[len(p.batches)-1]
	in.ProducerEpoch, in.BaseSeq = p.epoch, int32((int64(last.BaseSeq)+int64(last.Records))%(1<<31))
	switch random.Intn(8) {
	case 0, 1:
		old := p.batches[max(0, len(p.batches)-1-random.Intn(8))]
		in.BaseSeq, in.Records = old.BaseSeq, old.Records
	case 2:
		in.BaseSeq = (in.BaseSeq + int32(1+random.Intn(50))) & sequenceMask
	case 3:
		in.ProducerEpoch = (in.ProducerEpoch + int16(random.Intn(3)-1)) & epochMask
		in.BaseSeq *= int32(random.Intn(2))
	}
	return in
}

// TestPartitionModel compares verdicts with the oracle's, over random producers, failed writes,
// late syncs, expiry and restarts from the stored frames.
func TestPartitionModel(t *testing.T) {
	for seed := range int64(500) {
		if !t.Run(fmt.Sprint("LEAT_SEED=", seed), func(t *testing.T) { runPartitionModel(t, seed) }) {
			return
		}
	}
}

func runPartitionModel(t *testing.T, seed int64) {
	random := rand.New(rand.NewSource(seed))
	r := newPartitionRig(t, []Ack{AckPage, AckDisk}[random.Intn(2)])
	m := &partitionModel{producers: map[int64]*modelProducer{}}
	life := &storedLife{}
	for range 200 {
		r.now += random.Int63n(ProducerIdleNanos / 40)
		switch random.Intn(40) {
		case 0:
			r.now += ProducerIdleNanos / 2
		case 1:
			r.restart(m, life)
		case 6:
			life.snapshot = &modelSnapshot{r.p.EncodeProducers(nil), len(life.frames), m.clone()}
		case 2, 3, 4, 5:
			m.durableEnd += random.Int63n(m.logEnd - m.durableEnd + 1)
			r.step(PartitionInput{Kind: InputSynced, Offset: m.durableEnd})
		}
		written := r.writeGroup(m, random)
		if t.Failed() {
			return
		}
		life.frames = append(life.frames, written...)
		r.checkEnds(m)
	}
	checkProducerTable(t, &r.p.producers)
}

// writeGroup does one write of several batches, which may fail, and gives the frames it stored.
func (r *partitionRig) writeGroup(m *partitionModel, random *rand.Rand) (frames []FrameHeader) {
	before := m.clone()
	n := 1 + random.Intn(4)
	for range n {
		in := m.randomBatch(random)
		in.Time = r.now
		want := m.judge(in, r.now)
		if r.want(fmt.Sprintf("append %+v", in), r.step(in), want); r.t.Failed() {
			return nil
		}
		if want.Kind != EffectAppend {
			continue
		}
		if n > 1 {
			m.logEnd += int64(random.Intn(3)) // anonymous records without a step
		}
		frames = append(frames, FrameHeader{ProducerID: in.ProducerID, ProducerEpoch: in.ProducerEpoch,
			BaseSeq: in.BaseSeq, Records: uint16(in.Records), BaseOffset: m.logEnd, Time: r.now})
		m.written(in, r.now)
		in.Kind, in.Offset = InputAdded, m.logEnd
		if n == 1 {
			in.Kind = InputWritten
		}
		r.step(in)
	}
	switch {
	case n == 1:
	case random.Intn(5) == 0:
		*m = *before
		r.step(PartitionInput{Kind: InputDropped})
		return nil
	default:
		r.step(PartitionInput{Kind: InputWritten, Offset: m.logEnd})
	}
	return frames
}

func (m *partitionModel) clone() *partitionModel {
	c := *m
	c.producers = map[int64]*modelProducer{}
	for id, p := range m.producers {
		copied := *p
		copied.batches = slices.Clip(p.batches) // histories only grow
		c.producers[id] = &copied
	}
	return &c
}

// storedLife is what is on the disk: all frames, and what was saved in between.
type storedLife struct {
	frames   []FrameHeader
	snapshot *modelSnapshot
}

type modelSnapshot struct {
	state  []byte
	frames int // it covers
	model  *partitionModel
}

// restart rebuilds the partition from the frames, or from a snapshot and those behind it, and the oracle
// from the same.
func (r *partitionRig) restart(m *partitionModel, life *storedLife) {
	r.p = NewPartition(r.p.level, m.logEnd, m.durableEnd)
	old := &partitionModel{producers: map[int64]*modelProducer{}}
	from, time := 0, int64(0)
	if s := life.snapshot; s != nil {
		if err := r.p.LoadProducers(s.state); err != nil {
			r.t.Fatalf("LoadProducers: %v", err)
		}
		from, old = s.frames, s.model.clone()
		for _, p := range old.producers {
			time = max(time, p.lastSeen)
		}
	}
	for i := range life.frames[from:] {
		h := &life.frames[from+i]
		r.p.Restore(h)
		in := batch(h.ProducerID, h.ProducerEpoch, h.BaseSeq, int32(h.Records))
		in.Time, old.logEnd, time = h.Time, h.BaseOffset, h.Time
		old.written(in, h.Time)
	}
	r.p.Resume(r.now)
	for _, p := range old.producers {
		p.lastSeen += r.now - time
	}
	m.producers = old.producers
}

func (r *partitionRig) checkEnds(m *partitionModel) {
	r.t.Helper()
	visible := m.durableEnd
	if r.p.level == AckPage {
		visible = m.logEnd
	}
	if r.p.LogEnd() != m.logEnd || r.p.DurableEnd() != m.durableEnd || r.p.HighWater() != visible {
		r.t.Fatalf("ends at %d, %d, %d; want %d, %d, %d", r.p.LogEnd(), r.p.DurableEnd(), r.p.HighWater(),
			m.logEnd, m.durableEnd, visible)
	}
}
