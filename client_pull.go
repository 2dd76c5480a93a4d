package leat

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/wire"
)

const (
	pullPause    = 10 * time.Millisecond // before the nodes are asked again; it doubles
	pullPauseMax = 160 * time.Millisecond
	pullReach    = time.Second // for a node that is not connected, where others have nothing
	preparedMost = 1024        // groups of which is kept that they have a topic for dead letters
	prepareAgain = time.Minute // until it is tried again to make one
)

// Pull implements Backend. Each node lends of the partitions it has. None of them waits: a request that
// waits would hold a place among those of the connection, so the client asks again.
func (c *client) Pull(ctx context.Context, topic string, p Pull) ([]Lent, error) {
	t, err := c.topic(ctx, "pull from", topic)
	if err != nil {
		return nil, err
	}
	c.prepareOnce(t, p.Group)
	until := c.clock.Mono() + int64(p.Wait)
	for pause := pullPause; ; pause = min(2*pause, pullPauseMax) {
		list, err := c.pullOnce(ctx, t, &p)
		left := time.Duration(until - c.clock.Mono())
		if len(list) > 0 || err != nil || left <= 0 {
			return list, err
		}
		if err := clock.Sleep(ctx, c.clock, min(pause, left)); err != nil {
			return nil, err
		}
	}
}

// prepareOnce is prepareLetters for a group that has not pulled here before, or has no such topic yet.
func (c *client) prepareOnce(t *clientTopic, group string) {
	key, now := pullKey{t.id, group}, c.clock.Mono()
	c.mu.Lock()
	again, known := c.pulling.prepared[key]
	if known && now < again {
		c.mu.Unlock()
		return
	}
	if len(c.pulling.prepared) >= preparedMost || c.pulling.prepared == nil {
		c.pulling.prepared = map[pullKey]int64{}
	}
	c.pulling.prepared[key] = now + int64(prepareAgain) // others that pull meanwhile do not wait for it
	c.mu.Unlock()
	if c.prepareLetters(t, group) {
		c.mu.Lock()
		c.pulling.prepared[key] = math.MaxInt64
		c.mu.Unlock()
	}
}

// pulling is what a client keeps between pulls.
type pulling struct {
	prepared map[pullKey]int64 // groups, and when to look after their topics for dead letters (Mono)
	turn     int               // counts pulls
}

// pullKey names a group of a topic.
type pullKey struct {
	topic uint64
	group string
}

// pullOnce asks one node after the other for what it has now, beginning with another one each time. Those
// that are not connected are asked where the others have nothing.
func (c *client) pullOnce(ctx context.Context, t *clientTopic, p *Pull) ([]Lent, error) {
	var list []Lent
	var failed error
	answered := false
	for _, n := range c.pullOrder(t) {
		left := p.Max - len(list)
		if left == 0 || len(list) > 0 && !n.connected {
			break
		}
		more, err := c.pullFrom(ctx, n.node, t, p, left)
		if err != nil {
			failed = err
			continue
		}
		answered = true
		list = append(list, more...)
	}
	// Partitions of a node that is away are for later; an error that is not about being away is told.
	if len(list) > 0 || answered && core.CodeOf(failed) == core.CodeUnavailable {
		failed = nil
	}
	return list, failed
}

// pullNode is a node to be asked.
type pullNode struct {
	node      *clientNode
	connected bool
}

func (c *client) pullOrder(t *clientTopic) []pullNode {
	nodes := t.nodesOf()
	list := make([]pullNode, len(nodes))
	c.mu.Lock()
	c.pulling.turn++
	for i := range nodes {
		n := c.nodeLocked(nodes[(i+c.pulling.turn)%len(nodes)])
		list[i] = pullNode{n, n.conn != nil}
	}
	c.mu.Unlock()
	slices.SortStableFunc(list, func(a, b pullNode) int {
		switch {
		case a.connected == b.connected:
			return 0
		case a.connected:
			return -1
		}
		return 1
	})
	return list
}

func (c *client) pullFrom(
	ctx context.Context, n *clientNode, t *clientTopic, p *Pull, most int,
) ([]Lent, error) {
	reach, cancel := context.WithTimeout(ctx, min(pullReach, c.options.unreachableAfter))
	defer cancel()
	conn, err := n.connection(reach)
	if err != nil {
		return nil, err
	}
	body := wire.PullBody{Topic: t.name, Group: p.Group, Mode: uint8(p.Mode), Max: most,
		From: positionBody(p.From), Config: queueConfigBody(&p.Queue)}
	var answer wire.PulledAnswer
	if err := conn.request(ctx, wire.OpPull, body, &answer); err != nil {
		return nil, err
	}
	list := make([]Lent, 0, len(answer.Messages))
	for i := range answer.Messages {
		m := &answer.Messages[i]
		if m.Loan.Partition < 0 || int(m.Loan.Partition) >= t.cfg.Partitions {
			return nil, wire.Errorf("a message of partition %d, the topic has %d", m.Loan.Partition, t.cfg.Partitions)
		}
		list = append(list, lentMessage(t, m))
	}
	return list, nil
}

func lentMessage(t *clientTopic, b *wire.LentBody) Lent {
	m := Message{Topic: t.name, Partition: b.Loan.Partition, Offset: b.Loan.Offset, Time: time.Unix(0, b.Time),
		Attempt: b.Attempt, TTL: time.Duration(b.TTL), ID: string(b.ID)}
	if b.Key != nil {
		m.Key = *b.Key
	}
	if b.Value != nil {
		m.Value = *b.Value
	}
	for _, h := range b.Headers {
		m.Headers = append(m.Headers, Header(h))
	}
	return Lent{m, Loan(b.Loan)}
}

// Answer implements Backend: each loan goes to the node that has its partition. A request whose connection
// ends before the answer comes is not repeated: what it had done would be stale then.
func (c *client) Answer(
	ctx context.Context, topic, group string, a Answer, loans []Loan,
) ([]error, error) {
	t, err := c.topic(ctx, "answer on", topic)
	if err != nil {
		return nil, err
	}
	results := make([]error, len(loans))
	byNode := map[uint16][]int{}
	for i, l := range loans {
		if l.Partition < 0 || int(l.Partition) >= t.cfg.Partitions {
			results[i] = staleLoan(t, a.Kind, l)
			continue
		}
		node := t.nodeOf(l.Partition)
		byNode[node] = append(byNode[node], i)
	}
	var asking sync.WaitGroup
	for node, which := range byNode {
		asking.Go(func() { c.answerAt(ctx, c.node(node), t, group, &a, loans, which, results) })
	}
	asking.Wait()
	return results, nil
}

// answerAt tells one node about its loans, and notes what it says.
func (c *client) answerAt(ctx context.Context, n *clientNode, t *clientTopic, group string, a *Answer,
	loans []Loan, which []int, results []error) {
	body := wire.LoansBody{Topic: t.name, Group: group, Kind: wire.SettleKind(a.Kind), Delay: int64(a.Delay),
		Reason: []byte(core.CutReason(a.Reason))}
	for _, i := range which {
		body.Loans = append(body.Loans, wire.LoanBody(loans[i]))
	}
	var answer wire.LoansAnswer
	var needs uint64
	if a.Kind == AnswerNack && a.Reason != "" {
		needs = wire.FeatureReasons
	}
	err := c.askWith(ctx, n, false, needs, wire.OpAnswerLoans, body, &answer)
	if err == nil && len(answer.Codes) != len(which) {
		err = wire.Errorf("%d answers for %d loans", len(answer.Codes), len(which))
	}
	for at, i := range which {
		switch {
		case err != nil:
			results[i] = err
		case core.Code(answer.Codes[at]) == core.CodeStaleAck:
			results[i] = staleLoan(t, a.Kind, loans[i])
		case answer.Codes[at] != 0:
			results[i] = core.NewError(core.Code(answer.Codes[at]), t.op(a.Kind.String()+" a message of"), nil)
		}
	}
}

func staleLoan(t *clientTopic, kind AnswerKind, l Loan) error {
	return core.Errorf(core.CodeStaleAck, t.op(kind.String()+" a message of"), "partition %d, offset %d",
		l.Partition, l.Offset)
}
