// Command outbox takes orders and has each of them shipped exactly once, though both services die all the
// time, at the worst moments.
//
//	order service ──one commit──▶ orders.log: order + event ──relay──▶ topic orders ──▶ group shipping
//	                                    ▲                      id       (dedup window)       │ ids known?
//	                                    └── "sent up to here" ◀┘              shipping.log ◀─┘
//
// An order and the event that tells of it are one commit, so there is never one without the other: that is
// the outbox. The relay publishes what the outbox holds and marks it as sent. If it dies between the two, it
// publishes again under the same message id, and the bus, which knows the id, stores nothing. Shipping keeps
// the ids of events with the orders it ships, in one commit, too, so that what is delivered again is not
// shipped again.
//
// Everything is in the folder: killed and started again, the program goes on where it was.
package main
