// Command delayed reminds customers of invoices: a reminder is published with the invoice and delivered when
// it is due, unless the invoice was paid.
//
//	invoice ──Delay──▶ waits in the bus ──due──▶ topic reminders ──▶ group mail ──▶ sent
//	  paid ──────CancelDelayed──▶ × │                  ▲                  │
//	  extended ───Reschedule──▶ later                  └──Delay, longer───┘ mail server away
//
// In between the bus is closed, and opened again when the first reminders are overdue. At the end each
// invoice that was not paid was reminded of once, none too early, and none of those that were paid; the exit
// code is 1 if not.
package main
