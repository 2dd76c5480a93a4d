package node

import (
	"context"
	"errors"
	"sync"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// burial is a record that a queue group gives up.
type burial struct {
	offset   int64
	attempts int32
	code     core.Code
	reason   string
}

// bury copies records of a partition that this node has to the dead letters of the group that gives them up,
// and calls done with the index of each once its copy is stored at the level of the topic, or with why it is
// not. It returns when all were called; calls come from other goroutines, too, and must be quick. Records of
// a list are best in ascending order. The group may settle a record only after done without an error: moved,
// then acknowledged. A crash between the two makes it bury the record again, and a copy that is there already
// is not made twice.
//
// A record that its own topic does not have any more is CodeOffsetOutOfRange: retention has taken it, and
// nothing is left to keep. Other errors may pass: CodeStorageFull, CodeUnavailable.
func (n *Node) bury(
	ctx context.Context, group string, p *partition, list []burial, done func(i int, err error),
) {
	failed := func(err error) {
		for i := range list {
			done(i, err)
		}
	}
	to, err := n.letterTopic(ctx, p.topic, group)
	if err != nil {
		failed(err)
		return
	}
	grave, err := to.graveFor(p)
	if err != nil {
		failed(err)
		return
	}
	box := n.letters.box(letterKey{to.id, grave.number})
	if err := n.remember(ctx, box, grave); err != nil {
		failed(err)
		return
	}
	d := digging{node: n, group: group, from: p, grave: grave, box: box, writer: n.letterWriter(to), done: done}
	d.cursor.part = p
	defer d.cursor.close()
	for i := range list {
		d.waiting.Add(1)
		if err := d.bury(i, &list[i]); err != nil {
			d.ended(i, err)
		}
	}
	d.waiting.Wait()
}

// graveFor is the partition that gets the dead letters of p: the one with its number, which is on the same
// node, unless the source was created anew with other partitions.
func (t *topic) graveFor(p *partition) (*partition, error) {
	if int(p.number) < len(t.partitions) && t.partitions[p.number].here {
		return t.partitions[p.number], nil
	}
	if len(t.local) == 0 {
		err := core.Errorf(core.CodeUnavailable, t.op("publish to"), "none of its partitions is on the node of "+
			"partition %d of topic %s", p.number, core.Quote(p.topic.name))
		err.Hint = "redrive or drop its letters, then delete the topic: it is made anew beside its source"
		return nil, err
	}
	return t.local[int(p.number)%len(t.local)], nil
}

// digging is one call of bury.
type digging struct {
	node    *Node
	group   string
	from    *partition
	grave   *partition
	box     *letterbox
	writer  *producer
	done    func(i int, err error)
	waiting sync.WaitGroup

	cursor  cursor
	headers core.HeaderDecoder
	message leat.Message
}

func (d *digging) ended(i int, err error) {
	d.done(i, err)
	d.waiting.Done()
}

// bury publishes the copy of one record; ended is called for it later, unless this is an error.
func (d *digging) bury(i int, b *burial) error {
	if err := d.find(b.offset); err != nil {
		return err
	}
	m := &d.message
	origin := core.DeadLetterOrigin{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset,
		Time: m.Time.UnixNano(), Attempts: b.attempts, Code: b.code, Reason: b.reason, Group: d.group}
	identity := identify(&origin)
	if d.box.has(identity) {
		d.ended(i, nil)
		return nil
	}
	letter := leat.Message{Key: m.Key, Partition: d.grave.number}
	letter.Value, letter.Headers = origin.Wrap(m.Value, m.Headers)
	d.writer.PublishAsync(letter, func(_ leat.Receipt, err error) {
		if err == nil {
			d.box.note(identity)
		}
		d.ended(i, err)
	})
	return nil
}

// find makes the record at offset the message under way.
func (d *digging) find(offset int64) error {
	c := &d.cursor
	log := d.from.log
	gone := func() error {
		return core.Errorf(core.CodeOffsetOutOfRange, d.from.op("read"), "offset %d, the log has [%d, %d)",
			offset, log.Start(), log.End())
	}
	if log == nil {
		return d.from.refusal()
	}
	for c.hasRecords() && c.next < offset {
		if err := c.takeStored(&d.message, &d.headers); err != nil {
			return err
		}
	}
	if !c.hasRecords() || c.next != offset {
		if offset < log.Start() || offset >= log.End() {
			return gone()
		}
		c.close()
		c.start(offset)
		if found, err := c.fetch(log.End(), false); err != nil {
			return err
		} else if !found || c.next != offset {
			return gone()
		}
	}
	return c.takeStored(&d.message, &d.headers)
}

// letterTopic gives the dead letters of a group on a topic, which it makes if there are none yet.
func (n *Node) letterTopic(ctx context.Context, source *topic, group string) (*topic, error) {
	name, err := core.DeadLetterName(source.name, group)
	if err != nil {
		return nil, err
	}
	room := core.DeadLetterConfig(source.config()).MaxRecordBytes
	for {
		t, err := n.topicFor("bury in", name)
		switch {
		case err == nil && int(t.maxRecord.Load()) >= room:
			return t, nil
		case err == nil:
			if err := n.AlterTopic(ctx, name, leat.TopicChange{MaxRecordBytes: &room}); err != nil {
				return nil, err
			}
		case !errors.Is(err, core.ErrTopicNotFound):
			return nil, err
		default:
			err := n.CreateTopic(ctx, name, core.DeadLetterConfig(source.config()))
			if err != nil && !errors.Is(err, core.ErrTopicExists) {
				return nil, err
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// letterWriter is the node's own producer into a dead-letter topic.
func (n *Node) letterWriter(t *topic) *producer {
	l := &n.letters
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.writers[t.id]
	if w == nil {
		w = n.newProducer(t, leat.ProducerOptions{Partitioner: leat.Manual})
		w.own = true // letters keep headers that the node set on their records
		if l.writers == nil {
			l.writers = make(map[uint64]*producer)
		}
		l.writers[t.id] = w
	}
	return w
}

// letterIdentity tells copies of one record. The time tells records of topics that had the same name.
type letterIdentity struct {
	topic, group string
	partition    int32
	offset, time int64
}

func identify(o *core.DeadLetterOrigin) letterIdentity {
	return letterIdentity{o.Topic, o.Group, o.Partition, o.Offset, o.Time}
}

// recentKept is how many of the last letters of a partition are remembered. A group stores what it has
// settled after 1,024 records at the latest, so that a crash makes it bury fewer again.
const recentKept = 8192

// recentLetters is a set of the last letters of a partition.
type recentLetters struct {
	read bool // the log's were added
	set  map[letterIdentity]struct{}
	ring []letterIdentity
	at   int
}

func (r *recentLetters) add(id letterIdentity) {
	if _, known := r.set[id]; known {
		return
	}
	if r.set == nil {
		r.set = make(map[letterIdentity]struct{})
	}
	r.set[id] = struct{}{}
	if len(r.ring) < recentKept {
		r.ring = append(r.ring, id)
		return
	}
	delete(r.set, r.ring[r.at])
	r.ring[r.at] = id
	r.at = (r.at + 1) % recentKept
}

func (b *letterbox) has(id letterIdentity) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.recent.set[id]
	return known
}

func (b *letterbox) note(id letterIdentity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent.add(id)
}

// remember reads the last letters of a partition, once.
func (n *Node) remember(ctx context.Context, b *letterbox, grave *partition) error {
	b.mu.Lock()
	read := b.recent.read
	b.mu.Unlock()
	if read {
		return nil
	}
	if grave.log == nil {
		return grave.refusal()
	}
	if err := b.take(ctx); err != nil {
		return err
	}
	defer b.give()
	c := cursor{part: grave}
	end := grave.log.End()
	c.start(max(grave.log.Start(), end-recentKept))
	defer c.close()
	var headers core.HeaderDecoder
	var m leat.Message
	for {
		found, err := c.fetch(end, false)
		if err != nil {
			return err
		}
		if !found {
			break
		}
		for c.hasRecords() {
			if err := c.takeStored(&m, &headers); err != nil {
				return err
			}
			if origin, _, _, err := core.UnwrapDeadLetter(m.Value, m.Headers); err == nil {
				b.note(identify(&origin))
			}
		}
	}
	b.mu.Lock()
	b.recent.read = true
	b.mu.Unlock()
	return nil
}
