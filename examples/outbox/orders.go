package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/leatbus/leat"
)

type order struct {
	Number   int    `json:"number"` // from 1
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

// event tells others of a change. Its id is made once, with the change, and stays with it.
type event struct {
	ID    string `json:"id"`
	Order order  `json:"order"`
}

// orderCommit is one commit of the order service: an order with its event, or a mark.
type orderCommit struct {
	Order *order `json:"order,omitempty"`
	Event *event `json:"event,omitempty"`
	Sent  int    `json:"sent,omitempty"` // events that are published, from the first one on
}

// orderStore has the orders and the outbox.
type orderStore struct {
	journal *journal
	orders  []order
	outbox  []event // all events; the first sent of them are published
	sent    int
}

func openOrders(dir string) (*orderStore, error) {
	s := &orderStore{}
	var err error
	s.journal, err = openJournal(filepath.Join(dir, "orders.log"), func(commit []byte) error {
		var c orderCommit
		if err := json.Unmarshal(commit, &c); err != nil {
			return err
		}
		s.apply(c)
		return nil
	})
	return s, err
}

func (s *orderStore) apply(c orderCommit) {
	if c.Order != nil {
		s.orders = append(s.orders, *c.Order)
	}
	if c.Event != nil {
		s.outbox = append(s.outbox, *c.Event)
	}
	s.sent = max(s.sent, c.Sent)
}

func (s *orderStore) commit(c orderCommit) error {
	err := s.journal.append(c)
	if err == nil {
		s.apply(c)
	}
	return err
}

// orderService takes orders. What it knows is in its store; what it counts is for the report only.
type orderService struct {
	dir    string
	orders int  // to be taken in all
	ids    bool // events are published under their ids
	fate   *fate
	counts orderCounts
}

type orderCounts struct {
	deaths, published, known int
}

// relayMax bounds the events that are published before they are marked, and so those that are published
// twice.
const relayMax = 8

// run takes orders until it has them all and all are published, however often it dies.
func (s *orderService) run(ctx context.Context, bus *leat.Bus) error {
	for {
		err := s.live(ctx, bus)
		if !errors.Is(err, errDied) {
			return err
		}
		s.counts.deaths++
	}
}

// live is one life of the service: it starts from what is on the disk.
func (s *orderService) live(ctx context.Context, bus *leat.Bus) error {
	store, err := openOrders(s.dir)
	if err != nil {
		return err
	}
	defer store.journal.close()
	store.journal.fate = s.fate.strikes
	producer, err := bus.Producer("orders")
	if err != nil {
		return err
	}
	defer producer.Close()
	for len(store.orders) < s.orders && ctx.Err() == nil {
		if err := s.take(store); err != nil {
			return err
		}
		if len(store.outbox)-store.sent >= relayMax {
			if err := s.relay(ctx, store, producer); err != nil {
				return err
			}
		}
	}
	return cmp.Or(s.relay(ctx, store, producer), context.Cause(ctx))
}

// take takes the next order. A customer who got no answer orders again.
func (s *orderService) take(store *orderStore) error {
	n := len(store.orders) + 1
	o := order{Number: n, Customer: fmt.Sprintf("customer-%d", n%17), Cents: 100 + n*n%9_900}
	placed := &event{fmt.Sprintf("order-%d-placed", n), o}
	if err := store.commit(orderCommit{Order: &o, Event: placed}); err != nil {
		return err
	}
	return s.fate.decide() // it may die when the order is taken and nobody knows of it
}

// relay publishes what the outbox holds, in order, and marks it as sent.
func (s *orderService) relay(ctx context.Context, store *orderStore, producer *leat.Producer) error {
	for store.sent < len(store.outbox) {
		batch := store.outbox[store.sent:min(store.sent+relayMax, len(store.outbox))]
		var failed error // and the counts belong to the callbacks until Flush returns
		for _, e := range batch {
			value, err := json.Marshal(e)
			if err != nil {
				return err
			}
			m := leat.Message{Key: []byte(e.Order.Customer), Value: value}
			if s.ids {
				m.ID = e.ID
			}
			producer.PublishAsync(m, func(r leat.Receipt, err error) {
				failed = cmp.Or(failed, err)
				s.counts.published++
				if r.Duplicate {
					s.counts.known++
				}
			})
		}
		if err := producer.Flush(ctx); err != nil {
			return err // callbacks may still run; nothing is marked: it is published again
		}
		if failed != nil {
			return failed
		}
		// The worst moment: the events are published, and the outbox does not know.
		if err := s.fate.decide(); err != nil {
			return err
		}
		if err := store.commit(orderCommit{Sent: store.sent + len(batch)}); err != nil {
			return err
		}
	}
	return nil
}
