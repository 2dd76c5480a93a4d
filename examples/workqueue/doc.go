// Command workqueue works off 10,000 jobs in the order of each customer, an airport here, with workers that
// come and go, while one of the customers cannot be served.
//
//	birdstrikes.tsv ──▶ topic jobs ──▶ key-shared group clerks ──▶ ledger
//	                    (by airport)    4 desks, a worker at each, who leaves after a shift
//
// The jobs of one airport fail at first. The first of them is tried again and again, after a delay that
// grows, and holds up the others of its airport and nobody else. When all other airports are done, that one
// is up again, and its jobs are done, too. The ledger knows the order in which jobs were published; one that
// is done out of the order of its airport, or is left out, makes the exit code 1.
package main
