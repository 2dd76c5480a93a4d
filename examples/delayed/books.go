package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/leatbus/leat"
)

// reminder is the message.
type reminder struct {
	Invoice int `json:"invoice"`
	Attempt int `json:"attempt"` // which mail this is to be, from 1 on
}

// invoice is one row of the books.
type invoice struct {
	handle string    // of its reminder, while that waits
	due    time.Time // of its reminder: not before
	paid   bool      // in time, so that there is no reminder
	mails  int       // that were tried
	sent   int       // of which arrived
}

// books are all invoices. They belong to one goroutine.
type books struct {
	invoices []invoice
	extended int
	late     time.Duration // largest delay of a reminder behind its due time
}

// makeOut makes out the invoices. Then some are paid, and some customers ask for more time.
func (b *books) makeOut(ctx context.Context, bus *leat.Bus, o options, out io.Writer) error {
	producer, err := bus.Producer("reminders")
	if err != nil {
		return err
	}
	defer producer.Close()
	b.invoices = make([]invoice, o.invoices)
	for i := range b.invoices {
		receipt, err := publish(ctx, producer, reminder{Invoice: i, Attempt: 1}, o.term)
		if err != nil {
			return err
		}
		b.invoices[i] = invoice{handle: receipt.Handle, due: receipt.Time.Add(o.term)}
	}
	for i := range b.invoices {
		v := &b.invoices[i]
		switch {
		case i%3 == 0:
			err = v.pay(ctx, bus)
		case i%5 == 0:
			err = b.extend(ctx, bus, v, o.term)
		}
		if err != nil {
			return err
		}
	}
	return b.list(ctx, bus, out)
}

// publish has a reminder delivered after delay. It is safe when this returns, whatever becomes of the bus.
func publish(ctx context.Context, p *leat.Producer, r reminder, delay time.Duration) (leat.Receipt, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return leat.Receipt{}, err
	}
	return p.Publish(ctx, leat.Message{Key: fmt.Append(nil, "invoice-", r.Invoice), Value: value, Delay: delay})
}

// pay cancels the reminder, unless that is on its way by now.
func (v *invoice) pay(ctx context.Context, bus *leat.Bus) error {
	outcome, err := bus.CancelDelayed(ctx, v.handle)
	v.paid = outcome == leat.DelayCancelled
	return err
}

// extend puts the reminder off, unless that is on its way by now.
func (b *books) extend(ctx context.Context, bus *leat.Bus, v *invoice, by time.Duration) error {
	due := v.due.Add(by)
	handle, outcome, err := bus.Reschedule(ctx, v.handle, due)
	if outcome == leat.DelayMoved && err == nil {
		v.handle, v.due = handle, due
		b.extended++
	}
	return err
}

// list tells what waits, a page at a time.
func (b *books) list(ctx context.Context, bus *leat.Bus, out io.Writer) error {
	waiting := 0
	filter := leat.DelayFilter{Topic: "reminders", Limit: 100}
	for {
		page, err := bus.Delayed(ctx, filter)
		if err != nil {
			return err
		}
		if waiting == 0 && len(page.Messages) > 0 {
			first := page.Messages[0]
			fmt.Fprintf(out, "next is %s, in %v\n", first.Key, time.Until(first.Due).Round(time.Millisecond))
		}
		waiting += len(page.Messages)
		if filter.After = page.Next; page.Next == "" {
			fmt.Fprintf(out, "%d invoices, %d reminders wait, %d of them were put off\n", len(b.invoices), waiting,
				b.extended)
			return nil
		}
	}
}

func (b *books) firstDue() time.Time {
	first := b.invoices[0].due
	for i := range b.invoices {
		if v := &b.invoices[i]; !v.paid && v.due.Before(first) {
			first = v.due
		}
	}
	return first
}
