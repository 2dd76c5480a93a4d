// Command quakes replays a real week of earthquakes through a bus and follows it with two groups: one
// keeps statistics of each seismic network, the other prints an alert for every quake of magnitude 4
// and more.
//
//	earthquakes.tsv ──▶ topic quakes ──▶ group statistics ──▶ topic statistics
//	  at -speed         (by network)  └─▶ group alerts ──▶ standard output
//
// It ends when both groups have handled the week. Interrupted, and started again on the same folder, it
// goes on where it was: it publishes what is missing and counts nothing twice.
package main
