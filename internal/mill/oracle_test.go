package mill

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/leatbus/leat/core"
)

// topicRecord is a record that was appended to the topic.
type topicRecord struct{ value, key string }

// failing reports whether the record always fails.
func (r *topicRecord) failing() bool { return strings.HasSuffix(r.value, "bad") }

// topicOracle knows what is in the topic's log.
type topicOracle struct {
	records []*topicRecord // by offset; nil where there is none
	end     int64          // may be read
	start   int64
	gaps    bool // some offsets have no record
}

// appended notes what was appended.
func (t *topicOracle) appended(w *world, base int64, list [][]byte) {
	if base < t.end {
		w.broken("disk", "offset %d given again, readable up to %d", base, t.end)
	}
	t.records = t.records[:min(base, int64(len(t.records)))]
	for int64(len(t.records)) < base {
		t.records = append(t.records, nil)
		t.gaps = true
	}
	for _, each := range list {
		r, _, err := core.DecodeRecord(each)
		if err != nil {
			w.broken("disk", "a record that was appended: %v", err)
		}
		t.records = append(t.records, &topicRecord{string(r.Value), string(r.Key)})
		w.counts.records++
	}
}

// opened compares the log that was opened again with what was there before.
func (t *topicOracle) opened(w *world) {
	log := w.disk.topic
	if w.err != nil {
		return
	}
	found := make([]*topicRecord, log.log.End())
	log.read(log.log.Start(), log.log.End(), func(offset int64, r *core.Record) {
		found[offset] = &topicRecord{string(r.Value), string(r.Key)}
	})
	for offset := log.log.Start(); offset < int64(len(t.records)); offset++ {
		before := t.records[offset]
		var now *topicRecord
		if offset < int64(len(found)) {
			now = found[offset]
		}
		switch {
		case now != nil && (before == nil || *now != *before):
			w.broken("disk", "offset %d is %+v, and was %+v", offset, now, before)
		case before != nil && now == nil && offset < t.end && w.level == core.AckDisk:
			w.broken("disk", "offset %d, which was readable, is gone", offset)
		}
	}
	for offset := log.log.Start(); offset < log.log.End(); offset++ {
		t.gaps = t.gaps || found[offset] == nil
	}
	t.start = log.log.Start()
	copy(found, t.records[:min(t.start, int64(len(t.records)))])
	t.records = found
}

func (t *topicOracle) trimmed(start int64) { t.start = max(t.start, start) }

// state is where a record stands with a group.
type state uint8

const (
	waiting state = iota // it may be delivered, from due on
	leased
	failed // its failure is not told yet
	dying
	done
	dead
	gone // from the log
)

// account is what the oracle knows of a record and a group.
type account struct {
	state    state
	class    int8 // 1: it fails for ever, or comes behind one that does
	rejected bool
	doomed   bool // it is being made a dead letter: never delivered any more
	copied   bool // there is a dead letter of it
	sure     bool // that it is settled is stored
	fails    int32
	handed   int32 // highest attempt that a member was told
	member   int64
	grant    core.QueueGrant
	until    int64 // end of the lease
	due      int64
}

func (a *account) settled() bool { return a.state >= done }

// keyLine is the records of a key, by offset.
type keyLine struct {
	offsets []int64
	first   int // all before are settled
}

// oracle keeps the accounts of a group, from what its queue is told and tells, and says what is wrong.
type oracle struct {
	w        *world
	plan     *groupPlan
	accounts []*account // by offset; nil where there is no record
	lines    map[string]*keyLine
	settles  []int64 // offsets, in the order in which they were settled
	surely   int64   // of settles: those that are stored
	open     [2]int  // records that are not settled, by class
	start    int64
	said     core.QueueInput // what a member said, while the queue is told
	lenient  bool            // a power cut may have taken what was acknowledged below the disk
	trims    bool

	most, held map[int64]int64 // of members
	offered    map[int64]int64 // to those who pull
	tokens     float64         // handed out beyond the rate
	tokensAt   int64
	unsettled  int64 // when the queue was opened
}

func newOracle(w *world, p *groupPlan) *oracle {
	return &oracle{w: w, plan: p, lines: map[string]*keyLine{}, most: map[int64]int64{}, held: map[int64]int64{},
		offered: map[int64]int64{}}
}

func (o *oracle) broken(kind, format string, args ...any) {
	o.w.broken(kind, "group "+o.plan.name+": "+format, args...)
}

// at gives the account of a record, nil if there is no such record.
func (o *oracle) at(offset int64) *account {
	if offset < 0 || offset >= int64(len(o.accounts)) {
		return nil
	}
	return o.accounts[offset]
}

// extend opens the accounts of records that may be read now.
func (o *oracle) extend(end int64) {
	for offset := int64(len(o.accounts)); offset < end && offset < int64(len(o.w.topic.records)); offset++ {
		r := o.w.topic.records[offset]
		if r == nil {
			o.accounts = append(o.accounts, nil)
			continue
		}
		a := &account{}
		if r.failing() || o.plan.cfg.Ordered && r.key == "k1" {
			a.class = 1
		}
		if offset < o.start {
			a.state = gone
		} else {
			o.open[a.class]++
		}
		o.accounts = append(o.accounts, a)
		if r.key != "" {
			line := o.lines[r.key]
			if line == nil {
				line = &keyLine{}
				o.lines[r.key] = line
			}
			line.offsets = append(line.offsets, offset)
		}
	}
}

// failing gives the records of a grant that always fail.
func (o *oracle) failing(g core.QueueGrant) uint64 {
	bad := uint64(0)
	for offset := range offsetsOf(g) {
		if o.w.topic.failing(offset) {
			bad |= 1 << (offset - g.Lo)
		}
	}
	return bad
}

// failing reports whether there is a record at offset that always fails.
func (t *topicOracle) failing(offset int64) bool {
	known := offset >= 0 && offset < int64(len(t.records)) && t.records[offset] != nil
	return known && t.records[offset].failing()
}

func offsetsOf(g core.QueueGrant) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		for left := g.Left; left != 0; left &= left - 1 {
			if !yield(g.Lo + int64(bits.TrailingZeros64(left))) {
				return
			}
		}
	}
}

func (o *oracle) joined(id int64, most int32) { o.most[id] = int64(most) }

// release ends a lease.
func (o *oracle) release(a *account, to state) {
	if a.state == leased {
		o.held[a.member]--
	}
	a.state = to
}

// settle ends an account.
func (o *oracle) settle(offset int64, a *account, as state) {
	if a.settled() {
		if a.state != gone {
			o.broken("settled twice", "offset %d, which was settled before: %+v", offset, *a)
		}
		return
	}
	o.release(a, as)
	o.open[a.class]--
	o.settles = append(o.settles, offset)
}

// folding begins to store what is settled, and gives how far that goes.
func (o *oracle) folding() int64 { return int64(len(o.settles)) }

// folded tells that this is stored.
func (o *oracle) folded(upTo int64) {
	for ; o.surely < upTo; o.surely++ {
		if a := o.at(o.settles[o.surely]); a != nil && a.settled() {
			a.sure = true
		}
	}
}

// trimmed takes records out that the log has not any more.
func (o *oracle) trimmed(start int64) {
	for offset := o.start; offset < start && offset < int64(len(o.accounts)); offset++ {
		if a := o.at(offset); a != nil && !a.settled() {
			o.release(a, gone)
			o.open[a.class]--
		}
	}
	o.trims = o.trims || start > o.start
	o.start = max(o.start, start)
}

// shortest is how long a record waits at least after so many failures.
func (o *oracle) shortest(fails int32) int64 {
	r := &o.plan.cfg.Retry
	d := float64(r.Min) * math.Pow(max(r.Factor, 1), float64(fails-1))
	return int64(math.Floor(min(d, float64(r.Max)) * (1 - r.Jitter)))
}

// stepped judges a step of the queue.
func (o *oracle) stepped(s *shell, in *core.QueueInput, now int64, effects []core.QueueEffect) {
	switch in.Kind {
	case core.QueueReadable:
		o.extend(in.Offset)
	case core.QueueKeys:
		o.looked(in)
	case core.QueueLeave, core.QueueLost:
		o.left(in.Member, in.Kind == core.QueueLost, now)
	case core.QueueAck, core.QueueNack, core.QueueReject, core.QueueExtend:
		o.answered(in, now, effects)
	case core.QueueBuried:
		if a := o.at(in.Grant.Lo); a != nil {
			o.w.counts.dead++
			o.settle(in.Grant.Lo, a, dead)
		}
	case core.QueueBuryFailed:
		if a := o.at(in.Grant.Lo); a != nil && a.state == dying {
			a.state = waiting
		}
	}
	for i := range effects {
		switch e := &effects[i]; e.Kind {
		case core.QueueStore:
			o.failedOnce(e, now)
		case core.QueueDeliver:
			o.delivered(e, now)
		case core.QueueBury:
			o.buries(e)
		}
	}
	o.compare(s)
	o.w.mix(int64(in.Kind), in.Offset, in.Grant.Lo, in.Grant.Epoch, int64(len(effects)), int64(o.open[0]))
	if o.w.verbose != nil {
		o.w.say("%s %s", o.plan.name, describe(in, effects))
	}
}

// compare holds the queue's figures against the accounts.
func (o *oracle) compare(s *shell) {
	open := int64(o.open[0] + o.open[1])
	if lag := s.q.Lag(); !o.trims && !o.w.topic.gaps && lag != open {
		o.broken("lost", "the queue says that %d records are not settled, it is %d", lag, open)
	}
	if n, most := s.q.Unsettled(), o.plan.cfg.WithDefaults().MaxUnsettled; n > max(most, o.unsettled) {
		o.broken("window", "%d records unsettled, at most %d", n, most)
	}
}

// looked settles those of the records that the queue was told of that a filter leaves out.
func (o *oracle) looked(in *core.QueueInput) {
	for offset := in.Offset; o.plan.cfg.Filtered && offset < in.Offset+int64(len(in.Keys)); offset++ {
		if a := o.at(offset); a != nil && !a.settled() && leftOut([]byte(o.w.topic.records[offset].value)) {
			o.w.counts.left++
			o.settle(offset, a, done)
		}
	}
}

// leftOut reports whether the filter of a filtered group leaves a record out.
func leftOut(value []byte) bool {
	sum := 0
	for _, b := range value {
		sum += int(b)
	}
	return sum%3 == 0
}

// left ends what a member has, with a failure if it went without a word.
func (o *oracle) left(id int64, lost bool, now int64) {
	for offset := o.start; offset < int64(len(o.accounts)); offset++ {
		a := o.at(offset)
		if a == nil || a.state != leased || a.member != id {
			continue
		}
		if lost {
			a.due = now + o.shortest(a.fails+1)
			o.release(a, failed)
		} else {
			a.due = 0
			o.release(a, waiting)
		}
	}
	delete(o.most, id)
}

// answered judges what the queue made of an answer.
func (o *oracle) answered(in *core.QueueInput, now int64, effects []core.QueueEffect) {
	stale := uint64(0)
	for i := range effects {
		if e := &effects[i]; e.Kind == core.QueueStale {
			stale |= e.Grant.Left
			o.w.counts.stale++
		}
	}
	g := in.Grant
	for offset := range offsetsOf(g) {
		a := o.at(offset)
		if a == nil || a.state == gone {
			continue
		}
		accepted := stale>>(offset-g.Lo)&1 == 0
		valid := a.state == leased && a.member == in.Member && a.grant.Epoch == g.Epoch && a.grant.Slot == g.Slot &&
			a.grant.Lo == g.Lo
		switch {
		case accepted && a.settled():
			o.broken("settled twice", "offset %d was answered again and accepted: %s; %+v", offset, inputName(in), *a)
		case accepted && (in.Kind != o.said.Kind || o.said.Grant.Left>>(offset-g.Lo)&1 == 0):
			o.broken("unsaid", "offset %d: %s was accepted, and nobody said so; %+v", offset, inputName(in), *a)
		case accepted && (!valid || o.said.Member != a.member || o.said.Grant.Epoch != a.grant.Epoch):
			o.broken("zombie", "offset %d: %s with %+v was accepted; %+v", offset, inputName(in), g, *a)
		case !accepted && valid && now < a.until:
			o.broken("refused", "offset %d: %s with %+v, in time; %+v", offset, inputName(in), g, *a)
		case accepted:
			o.accept(in, offset, a, now)
		}
	}
}

func (o *oracle) accept(in *core.QueueInput, offset int64, a *account, now int64) {
	switch in.Kind {
	case core.QueueAck:
		o.w.counts.acks++
		o.settle(offset, a, done)
	case core.QueueNack:
		delay := o.said.Delay
		if a.due = now + delay; delay < 0 {
			a.due = now + o.shortest(a.fails+1)
		}
		o.release(a, failed)
	case core.QueueReject:
		a.rejected = true
		o.release(a, failed)
	case core.QueueExtend:
		a.until = now + int64(o.plan.cfg.Lease)
	}
}

// failedOnce judges a failure that the queue tells.
func (o *oracle) failedOnce(e *core.QueueEffect, now int64) {
	a := o.at(e.Offset)
	if a == nil {
		return
	}
	if a.state == leased {
		if now < a.until {
			o.broken("lease", "offset %d was taken from its member %d ms early: %+v", e.Offset, (a.until-now)/ms, *a)
		}
		a.due = now + o.shortest(a.fails+1)
		o.release(a, failed)
	}
	if a.state != failed && a.state != gone {
		o.broken("attempts", "offset %d failed, says the queue, and is %+v", e.Offset, *a)
		return
	}
	if a.state == gone {
		return
	}
	a.fails++
	a.state = waiting
	switch most := o.plan.cfg.WithDefaults().MaxAttempts; {
	case e.Attempt != a.fails:
		o.broken("attempts", "offset %d failed %d times, the queue says %d", e.Offset, a.fails, e.Attempt)
	case a.rejected != (e.Code == core.CodeRejected):
		o.broken("conservation", "offset %d failed for good with code %v: %+v", e.Offset, e.Code, *a)
	case !a.rejected && (most > 0 && a.fails >= most) != (e.Code == core.CodeAttemptsExhausted):
		o.broken("conservation", "offset %d after %d attempts of %d: code %v", e.Offset, a.fails, most, e.Code)
	case e.Code == 0 && e.Due < a.due:
		o.broken("early", "offset %d is due %d ms early", e.Offset, (a.due-e.Due)/ms)
	}
}

// delivered judges what is handed to a member.
func (o *oracle) delivered(e *core.QueueEffect, now int64) {
	g := e.Grant
	o.count(e, now)
	for offset := range offsetsOf(g) {
		if offset >= o.w.topic.end {
			o.broken("unreadable", "offset %d was delivered, readable up to %d", offset, o.w.topic.end)
			return
		}
		a := o.at(offset)
		if a == nil {
			continue
		}
		switch {
		case a.state == leased:
			o.broken("leased twice", "offset %d was delivered while somebody has it: %+v, %+v", offset, *e, *a)
		case a.state == done || a.state == dead:
			o.broken("settled twice", "offset %d, which is settled, was delivered: %+v, %+v", offset, *e, *a)
		case a.state == gone:
			o.broken("trimmed", "offset %d, which is gone, was delivered", offset)
		case o.plan.cfg.Filtered && leftOut([]byte(o.w.topic.records[offset].value)):
			o.broken("left out", "offset %d, which a filter leaves out, was delivered", offset)
		case a.state != waiting || a.rejected || a.doomed:
			o.broken("conservation", "offset %d, a dead letter, was delivered: %+v, %+v", offset, *e, *a)
		case now < a.due:
			o.broken("early", "offset %d came %d ms early: %+v", offset, (a.due-now)/ms, *a)
		case e.Attempt != a.fails+1:
			o.broken("attempts", "offset %d failed %d times, this is attempt %d", offset, a.fails, e.Attempt)
		}
		o.inOrder(offset)
		a.state, a.member, a.grant, a.until = leased, e.Member, g, now+int64(o.plan.cfg.Lease)
		o.held[e.Member]++
		o.w.counts.deliveries++
		if e.Attempt > 1 {
			o.w.counts.again++
		}
	}
	if left, pulls := o.offered[e.Member]; pulls {
		o.offered[e.Member] = left - int64(bits.OnesCount64(g.Left))
		if left < int64(bits.OnesCount64(g.Left)) {
			o.broken("window", "those who pull want %d records: %+v", left, *e)
		}
	} else if n, most := o.held[e.Member], o.most[e.Member]; n > most {
		o.broken("window", "member %d has %d records, it takes %d", e.Member, n, most)
	}
}

// count holds deliveries against the rate.
func (o *oracle) count(e *core.QueueEffect, now int64) {
	rate := float64(o.plan.cfg.Rate) / 1e9
	if rate == 0 {
		return
	}
	burst := max(float64(o.plan.cfg.Rate)/10, 1)
	o.tokens = max(o.tokens-float64(now-o.tokensAt)*rate, 0) + float64(bits.OnesCount64(e.Grant.Left))
	if o.tokensAt = now; o.tokens > burst+0.01 {
		o.broken("rate", "%.1f records at once, at %d a second", o.tokens, o.plan.cfg.Rate)
	}
}

// inOrder checks that no older record of the key is unsettled.
func (o *oracle) inOrder(offset int64) {
	key := o.w.topic.records[offset].key
	if !o.plan.cfg.Ordered || key == "" {
		return
	}
	line := o.lines[key]
	for {
		before := line.offsets[line.first]
		if before == offset {
			return
		}
		if a := o.at(before); a != nil && !a.settled() {
			o.broken("order", "offset %d was delivered before %d of the same key %s", offset, before, key)
			return
		}
		if line.first++; line.first == len(line.offsets) {
			o.broken("order", "offset %d came again behind others of key %s", offset, key)
			line.first = 0
			return
		}
	}
}

func (o *oracle) buries(e *core.QueueEffect) {
	a := o.at(e.Offset)
	if a == nil || a.state == gone {
		return
	}
	most := o.plan.cfg.WithDefaults().MaxAttempts
	if a.state != waiting || !a.rejected && (most < 0 || a.fails < most) {
		o.broken("conservation", "offset %d becomes a dead letter: %+v", e.Offset, *a)
	}
	a.state = dying
}

// granted reports whether the lease of a delivery has not ended.
func (o *oracle) granted(e *core.QueueEffect) bool {
	for offset := range offsetsOf(e.Grant) {
		if a := o.at(offset); a != nil && (a.state != leased || a.grant.Epoch != e.Grant.Epoch) {
			return false
		}
	}
	return true
}

// handed notes what a member is given, once what that waits for is stored.
func (o *oracle) handed(e *core.QueueEffect) {
	for offset := range offsetsOf(e.Grant) {
		a := o.at(offset)
		switch {
		case a == nil || a.state == gone:
		case a.state != leased || a.grant.Epoch != e.Grant.Epoch:
			o.broken("leased twice", "offset %d was handed out when its lease had ended: %+v, %+v", offset, *e, *a)
		default:
			a.handed = max(a.handed, e.Attempt)
		}
	}
}

// burying notes that a dead letter is being stored.
func (o *oracle) burying(e *core.QueueEffect) {
	if a := o.at(e.Offset); a != nil {
		a.doomed = true
	}
}

// buried notes that it is stored.
func (o *oracle) buried(offset int64) {
	if a := o.at(offset); a != nil {
		a.copied = true
	}
}

// crashed ends all leases.
func (o *oracle) crashed(power bool) {
	o.lenient = o.lenient || power && o.w.level != core.AckDisk
	for _, a := range o.accounts {
		if a != nil && a.state == leased {
			a.state, a.due = waiting, 0
		}
	}
	clear(o.held)
	clear(o.most)
	for _, line := range o.lines {
		line.first = 0
	}
	o.tokens, o.tokensAt = 0, 0
}

// firstOpen describes the first record that is not settled.
func (o *oracle) firstOpen(all bool) string {
	for offset := range o.accounts {
		if a := o.accounts[offset]; a != nil && !a.settled() && (all || a.class == 0) {
			return fmt.Sprintf("group %s: offset %d of %d is not settled: %+v, record %+v", o.plan.name, offset,
				len(o.accounts), *a, o.w.topic.records[offset])
		}
	}
	return ""
}

// opened holds the accounts against what a queue is restored from.
func (o *oracle) opened(s *shell, progress []byte, start int64) {
	o.trimmed(start)
	next, open := decodeProgress(progress)
	o.unsettled = s.q.Unsettled()
	for i := range o.accounts {
		offset, a := int64(i), o.accounts[i]
		if a == nil || offset < o.start {
			continue
		}
		if o.w.topic.records[i] == nil { // a power cut took it
			if !a.settled() {
				o.open[a.class]--
			}
			o.accounts[i] = nil
			continue
		}
		f, again := s.failed[offset]
		if comes := offset >= next || open[offset] || again; comes {
			o.reopen(offset, a, &f)
		} else if !a.settled() {
			o.broken("lost", "offset %d is forgotten, and was %+v", offset, *a)
		}
	}
	kept := o.settles[:0]
	for _, offset := range o.settles {
		if a := o.at(offset); a != nil && a.settled() {
			kept = append(kept, offset)
		}
	}
	o.settles, o.surely = kept, min(o.surely, int64(len(kept)))
}

// reopen goes on with a record that comes again.
func (o *oracle) reopen(offset int64, a *account, f *core.QueueRecord) {
	was := *a
	if a.settled() {
		if a.sure && !o.lenient {
			o.broken("settled twice", "offset %d comes again, though it is stored that it is settled: %+v",
				offset, was)
		}
		o.open[a.class]++
	}
	if a.fails != f.Attempts {
		a.due = 0
	}
	a.state, a.sure, a.fails = waiting, false, f.Attempts
	a.rejected = f.Code == core.CodeRejected
	if o.lenient {
		a.handed, a.doomed = min(a.handed, f.Attempts+1), a.doomed && f.Code != 0
		return
	}
	if f.Attempts+1 < was.handed || f.Attempts > was.fails {
		o.broken("attempts", "offset %d failed %d times according to what is stored: %+v", offset, f.Attempts, was)
	}
	if was.doomed && f.Code == 0 {
		o.broken("conservation", "offset %d, a dead letter, comes again: %+v", offset, was)
	}
}

// decodeProgress reads what docs/format.md says of progress, without the code that wrote it.
func decodeProgress(src []byte) (next int64, open map[int64]bool) {
	open = map[int64]bool{}
	if src == nil {
		return 0, open
	}
	count := binary.LittleEndian.Uint32(src[4:])
	next = int64(binary.LittleEndian.Uint64(src[8:]))
	src = src[24:]
	lo := int64(0)
	for range count {
		delta, n := binary.Uvarint(src)
		rest, m := binary.Uvarint(src[n:])
		src = src[n+m:]
		lo += int64(delta)
		for left := rest<<1 | 1; left != 0; left &= left - 1 {
			open[lo+int64(bits.TrailingZeros64(left))] = true
		}
	}
	return next, open
}

// epochOf is the epoch of the last grant that progress knows of.
func epochOf(progress []byte) int64 {
	if progress == nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(progress[16:]))
}

// finish compares the dead letters with the accounts, when nothing is open: each record is done, or there is
// a dead letter of it, or it is gone from the log.
func (o *oracle) finish() {
	w := o.w
	letters := map[int64]bool{}
	number := 0
	for i := range w.groups {
		if &w.groups[i] == o.plan {
			number = i
		}
	}
	log := w.disk.dead[number]
	log.read(0, log.log.End(), func(_ int64, r *core.Record) {
		headers, err := new(core.HeaderDecoder).Decode(r.RawHeaders, nil)
		if err != nil || len(headers) != 2 {
			o.broken("conservation", "a dead letter with headers %v: %v", headers, err)
			return
		}
		offset, err := strconv.ParseInt(string(headers[0].Value), 10, 64)
		a := o.at(offset)
		switch {
		case a == nil && o.lenient:
			return
		case err != nil || a == nil:
			o.broken("conservation", "a dead letter of offset %d, which is none: %v", offset, err)
		case !o.lenient && a.state == done:
			o.broken("conservation", "offset %d is done, and a dead letter: %+v", offset, *a)
		case w.topic.records[offset] != nil && !bytes.Equal(r.Value, []byte(w.topic.records[offset].value)):
			o.broken("conservation", "a dead letter of offset %d says %q", offset, r.Value)
		}
		letters[offset] = true
	})
	if o.lenient {
		return
	}
	for offset := o.start; offset < int64(len(o.accounts)); offset++ {
		if a := o.at(offset); a != nil && a.state == dead && !letters[offset] {
			o.broken("conservation", "there is no dead letter of offset %d: %+v", offset, *a)
		}
	}
}
