package main

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestRun: what was not paid is reminded of once. A machine that is slow may be too late to cancel, which is
// no failure: so what is counted comes from the output.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const invoices = 70
	var out bytes.Buffer
	if err := run(ctx, options{invoices, 100 * time.Millisecond, time.Millisecond}, &out); err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out.String())
	}
	balance := regexp.MustCompile(`(\d+) were paid in time; (\d+) reminders are sent in (\d+) attempts, none too`)
	found := balance.FindStringSubmatch(out.String())
	if found == nil {
		t.Fatalf("output %q does not tell the balance", out.String())
	}
	var numbers [3]int
	for i := range numbers {
		numbers[i], _ = strconv.Atoi(found[i+1]) // digits
	}
	paid, sent, mails := numbers[0], numbers[1], numbers[2]
	if paid+sent != invoices || paid > 24 || mails <= sent {
		t.Errorf("%d paid, %d reminders, %d mails; want %d together, at most 24 paid, and some mails twice", paid,
			sent, mails, invoices)
	}
	if !strings.Contains(out.String(), fmt.Sprintf("%d invoices, ", invoices)) {
		t.Errorf("output %q", out.String())
	}
}

// TestBalanceBites: an invoice that was forgotten, or reminded of twice or in spite of being paid.
func TestBalanceBites(t *testing.T) {
	good := invoice{sent: 1}
	for _, bad := range []invoice{{}, {sent: 2}, {paid: true, sent: 1}} {
		b := &books{invoices: []invoice{good, {paid: true}, bad}}
		if b.balance(&bytes.Buffer{}) == nil {
			t.Errorf("%+v is not noticed", bad)
		}
	}
	b := &books{invoices: []invoice{good, {paid: true}}}
	if err := b.balance(&bytes.Buffer{}); err != nil {
		t.Error(err)
	}
}

// TestEarly: a reminder that comes before it is due ends the program.
func TestEarly(t *testing.T) {
	now := time.Now()
	b := &books{invoices: []invoice{{due: now}}}
	m := &leat.Message{Value: []byte(`{"invoice":0,"attempt":1}`), Time: now.Add(-1)}
	if _, err := b.mail(t.Context(), nil, m, 0); err == nil || !strings.Contains(err.Error(), "too early") {
		t.Errorf("1 ns early: %v", err)
	}
	m.Time = now
	if sent, err := b.mail(t.Context(), nil, m, 0); err != nil || sent != 1 {
		t.Errorf("in time: %d mails, %v", sent, err)
	}
	for _, value := range []string{`{"invoice":1}`, `{"invoice":-1}`, `{`} {
		m.Value = []byte(value)
		if _, err := b.mail(t.Context(), nil, m, 0); err == nil {
			t.Errorf("%s is taken for a reminder", value)
		}
	}
}

func TestOptions(t *testing.T) {
	for o, good := range map[options]bool{
		{1, time.Millisecond, time.Millisecond}: true, {0, time.Second, time.Second}: false,
		{1, 0, time.Second}: false, {1, time.Second, 0}: false,
	} {
		if err := o.check(); (err == nil) != good {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
