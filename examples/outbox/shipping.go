package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/leatbus/leat"
)

// shipment is one commit of shipping: an order that is shipped, with the id of the event that told of it.
type shipment struct {
	EventID string `json:"event_id"`
	Order   order  `json:"order"`
}

// shippingStore has what is shipped, by the id of the event.
type shippingStore struct {
	journal *journal
	shipped map[string]order
}

func openShipping(dir string) (*shippingStore, error) {
	s := &shippingStore{shipped: map[string]order{}}
	var err error
	s.journal, err = openJournal(filepath.Join(dir, "shipping.log"), func(commit []byte) error {
		var c shipment
		err := json.Unmarshal(commit, &c)
		if _, twice := s.shipped[c.EventID]; twice {
			err = fmt.Errorf("%s is shipped twice", c.EventID)
		}
		s.shipped[c.EventID] = c.Order
		return err
	})
	return s, err
}

// shippingService ships what it is told of.
type shippingService struct {
	dir    string
	fate   *fate
	counts shippingCounts
}

type shippingCounts struct {
	deaths, delivered, again int
}

// run ships until ctx ends, however often it dies.
func (s *shippingService) run(ctx context.Context, bus *leat.Bus) error {
	for {
		err := s.live(ctx, bus)
		if !errors.Is(err, errDied) {
			return err
		}
		s.counts.deaths++
	}
}

// live is one life of the service.
func (s *shippingService) live(ctx context.Context, bus *leat.Bus) error {
	store, err := openShipping(s.dir)
	if err != nil {
		return err
	}
	defer store.journal.close()
	sub, err := bus.Subscribe("orders", leat.Group("shipping"))
	if err != nil {
		return err
	}
	defer sub.Close()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		var e event
		if err := json.Unmarshal(m.Value, &e); err != nil {
			return err
		}
		s.counts.delivered++
		if _, done := store.shipped[e.ID]; done {
			s.counts.again++
		} else {
			if err := store.journal.append(shipment{e.ID, e.Order}); err != nil {
				return err
			}
			store.shipped[e.ID] = e.Order
		}
		// It is shipped, and the bus does not know: dead now, it is told of the order again.
		if err := s.fate.decide(); err != nil {
			return err
		}
		if err := m.Ack(); err != nil {
			return err
		}
	}
	return nil
}
