package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/leatbus/leat"
)

// remind sends mails until every customer was reminded who has to be.
func (b *books) remind(ctx context.Context, bus *leat.Bus, o options) error {
	producer, err := bus.Producer("reminders")
	if err != nil {
		return err
	}
	defer producer.Close()
	sub, err := bus.Subscribe("reminders", leat.Group("mail"), leat.Queue())
	if err != nil {
		return err
	}
	defer sub.Close()
	left := b.toRemind()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		sent, err := b.mail(ctx, producer, m, o.retry)
		if err != nil {
			return err
		}
		if err := m.Ack(); err != nil {
			return err
		}
		if left -= sent; left == 0 {
			return nil
		}
	}
	return context.Cause(ctx)
}

func (b *books) toRemind() (left int) {
	for i := range b.invoices {
		if v := &b.invoices[i]; !v.paid && v.sent == 0 {
			left++
		}
	}
	return left
}

// mail sends one mail. If the mail server is away, it publishes the reminder again for later, and only then
// the caller acknowledges this one. Nack with a delay does the same for seconds; what waits for hours is
// better off as a delayed message, which can be listed and cancelled, and takes no room in the group.
func (b *books) mail(ctx context.Context, producer *leat.Producer, m *leat.Message,
	retry time.Duration) (sent int, err error) {
	var r reminder
	if err := json.Unmarshal(m.Value, &r); err != nil {
		return 0, err
	}
	if r.Invoice < 0 || r.Invoice >= len(b.invoices) {
		return 0, fmt.Errorf("a reminder of invoice %d, there are %d", r.Invoice, len(b.invoices))
	}
	v := &b.invoices[r.Invoice]
	if m.Time.Before(v.due) {
		return 0, fmt.Errorf("the reminder of invoice %d came %v too early", r.Invoice, v.due.Sub(m.Time))
	}
	if v.mails++; !arrives(r) {
		later := retry << (r.Attempt - 1)
		receipt, err := publish(ctx, producer, reminder{r.Invoice, r.Attempt + 1}, later)
		v.handle, v.due = receipt.Handle, receipt.Time.Add(later)
		return 0, err
	}
	b.late = max(b.late, m.Time.Sub(v.due))
	v.sent++
	return 1, nil
}

// arrives stands for a mail server that is away at times.
func arrives(r reminder) bool { return r.Invoice%7 != 1 || r.Attempt == 3 }

// balance closes the books: it refuses what must not be.
func (b *books) balance(out io.Writer) error {
	paid, sent, mails := 0, 0, 0
	for i := range b.invoices {
		v := &b.invoices[i]
		want := 1
		if v.paid {
			want = 0
			paid++
		}
		if v.sent != want {
			return fmt.Errorf("invoice %d, paid in time: %t, was reminded of %d times", i, v.paid, v.sent)
		}
		sent += v.sent
		mails += v.mails
	}
	fmt.Fprintf(out, "%d were paid in time; %d reminders are sent in %d attempts, none too early, "+
		"one of them %v late\n", paid, sent, mails, b.late.Round(10*time.Microsecond))
	return nil
}
