package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	redisPipeline = 512 // messages that are sent together
	redisSenders  = 2   // pipelines on their way
	redisBatch    = 1000
	redisBlock    = 50 * time.Millisecond
	redisField    = "v"
)

var redisStreams = kind{name: "Redis Streams", role: benchkit.Peer, level: "page",
	note: fmt.Sprintf("a consumer group, append-only file synced every second; XADD in pipelines of %d, %d on "+
		"their way; XREADGROUP of %d, and an XACK with the id of each message of those; plain TCP",
		redisPipeline, redisSenders, redisBatch),
	start: startRedis}

// startRedis starts a Redis server.
func startRedis(ctx context.Context, s *stage) (system, []*process, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, nil, benchkit.Skipf("no redis-server: apt-get install redis-server")
	}
	dir, err := s.folder("redis")
	if err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	// Without snapshots, and without writing the file anew while others are measured.
	p, _, err := s.start(ctx, exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
		"--auto-aof-rewrite-percentage", "0"), nil)
	if err != nil {
		return nil, nil, err
	}
	system := &redisSystem{address: net.JoinHostPort("127.0.0.1", port)}
	return system, []*process{p}, p.await(ctx, func() error {
		client := system.connect()
		return errors.Join(client.Ping(ctx).Err(), client.Close())
	})
}

// redisSystem is a Redis server.
type redisSystem struct {
	address string
	made    bool // the group is there
}

func (s *redisSystem) connect() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.address, PoolSize: redisSenders, MaxRetries: -1,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute})
}

func (s *redisSystem) open(ctx context.Context, workers int) (*line, error) {
	l := &line{}
	client := s.connect()
	l.later(client.Close)
	if !s.made {
		if err := client.XGroupCreateMkStream(ctx, queueName, group, "0").Err(); err != nil {
			return nil, errors.Join(err, l.close())
		}
		s.made = true
	}
	// What was acked stays in the stream until now: nothing is faster.
	l.later(func() error { return client.XTrimMaxLen(context.WithoutCancel(ctx), queueName, 0).Err() })
	p := &redisPublisher{client: client, full: make(chan redis.Pipeliner, 1)}
	p.batch = client.Pipeline()
	for range redisSenders {
		p.sending.Go(func() { p.send(ctx) })
	}
	l.later(p.close)
	l.publisher = p
	for i := range workers {
		own := s.connect()
		l.later(own.Close)
		l.workers = append(l.workers, &redisWorker{client: own, name: fmt.Sprint(i)})
	}
	return l, nil
}

// redisPublisher sends pipelines of messages. Several are on their way.
type redisPublisher struct {
	client  *redis.Client
	batch   redis.Pipeliner
	full    chan redis.Pipeliner
	under   sync.WaitGroup // pipelines that are not answered
	sending sync.WaitGroup

	mu     sync.Mutex
	failed error // guarded by mu
}

func (p *redisPublisher) publish(ctx context.Context, _, value []byte) error {
	p.batch.XAdd(ctx, &redis.XAddArgs{Stream: queueName, Values: []any{redisField, bytes.Clone(value)}})
	if p.batch.Len() >= redisPipeline {
		p.hand()
	}
	return nil
}

func (p *redisPublisher) hand() {
	p.under.Add(1)
	p.full <- p.batch
	p.batch = p.client.Pipeline()
}

// send sends pipelines until the publisher is closed.
func (p *redisPublisher) send(ctx context.Context) {
	for batch := range p.full {
		if _, err := batch.Exec(ctx); err != nil {
			p.mu.Lock()
			p.failed = errors.Join(p.failed, err)
			p.mu.Unlock()
		}
		p.under.Done()
	}
}

func (p *redisPublisher) flush(context.Context) error {
	if p.batch.Len() > 0 {
		p.hand()
	}
	p.under.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *redisPublisher) close() error {
	close(p.full)
	p.sending.Wait()
	return nil
}

// redisWorker is a consumer of the group.
type redisWorker struct {
	client *redis.Client
	name   string
	busy   sync.Mutex // held while a batch is handled and acked
}

func (w *redisWorker) work(ctx context.Context, h *hand) error {
	var ids []string
	for ctx.Err() == nil {
		streams, err := w.client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: w.name,
			Streams: []string{queueName, ">"}, Count: redisBatch, Block: redisBlock}).Result()
		if errors.Is(err, redis.Nil) {
			continue // nothing came
		}
		if err != nil {
			return err
		}
		if ids, err = w.handle(ctx, h, streams, ids[:0]); err != nil {
			return err
		}
	}
	return nil
}

func (w *redisWorker) handle(
	ctx context.Context, h *hand, streams []redis.XStream, ids []string,
) ([]string, error) {
	w.busy.Lock()
	defer w.busy.Unlock()
	for _, stream := range streams {
		for i := range stream.Messages {
			m := &stream.Messages[i]
			value, _ := m.Values[redisField].(string) // another type is none that was sent, which see counts
			h.see([]byte(value))
			ids = append(ids, m.ID)
		}
	}
	return ids, w.client.XAck(ctx, queueName, group, ids...).Err()
}

// settle waits for the ack of what was handled last.
func (w *redisWorker) settle(context.Context) error {
	w.busy.Lock()
	defer w.busy.Unlock()
	return nil
}
