/* park: a plain MOV to publish, and no lost wake-up.

   Model of ringbuf's parkingLot on a processor that delays stores (x86-TSO): one producer that
   publishes and wakes, two goroutines that park in the same lot, and that may give up (the end of a
   context). Stores of the producer become visible some time after it went on; a locked instruction
   of its own, or membarrier(2) of anybody, makes them visible.

     issued, pending    publishes, and how many of them are still in the producer's store buffer
     waiting            parkingLot.waiting
     listed, token      parked.listed, and whether parked.token holds one
     mu                 parkingLot.mu; taking it is a locked instruction

   Proves: nobody sleeps beside something to do; whoever leaves takes its token along.

   MODE says how the two sides are kept in order:
     1   XCHG to publish
     2   MOV to publish; the parker calls membarrier between counting itself and looking again
     0   MOV to publish, nothing else: must fail
     3   MOV to publish; membarrier comes before the parker counts itself: must fail
   Switches, each of which must make it fail:
     LOOK=0    the parker does not look again after it counted itself
     TAKE=0    who gives up does not wait for the token of a waker that took it off the list */
#ifndef MODE
#define MODE 2
#endif
#ifndef LOOK
#define LOOK 1
#endif
#ifndef TAKE
#define TAKE 1
#endif
#define N 3            /* publishes */
#define W 2            /* parkers */
#define DEPTH 2        /* of the store buffer */

byte issued, pending;
byte waiting;
bit listed[W], token[W];
bit mu;
byte finished;

#define VISIBLE (issued - pending)

proctype producer() {
  bit taken[W];
  do
  :: issued < N ->
     if
     :: MODE == 1 -> issued++
     :: else -> atomic { pending < DEPTH -> issued++; pending++ }
     fi;
     if                                                  /* wake */
     :: waiting == 0 -> skip
     :: else ->
        atomic { !mu -> mu = 1; pending = 0 };
        d_step {
          waiting = 0;
          taken[0] = listed[0]; taken[1] = listed[1];
          listed[0] = 0; listed[1] = 0
        };
        mu = 0;
        if :: taken[0] -> atomic { assert(!token[0]); token[0] = 1; taken[0] = 0 } :: else fi;
        if :: taken[1] -> atomic { assert(!token[1]); token[1] = 1; taken[1] = 0 } :: else fi
     fi
  :: else -> break
  od;
  finished++
}

proctype buffer() {
  do
  :: atomic { pending > 0 -> pending-- }
  :: finished == W + 1 && pending == 0 -> break
  od
}

proctype parker(byte me) {
  byte got;
  bit gaveUp;
  do
  :: got < N ->
     if
     :: VISIBLE > got -> got = VISIBLE
     :: else ->
        if :: MODE == 3 -> pending = 0 :: else fi;
        atomic { !mu -> mu = 1 };                        /* enter */
        assert(!token[me] && !listed[me]);
        d_step { listed[me] = 1; waiting++ };
        mu = 0;
        if :: MODE == 2 -> pending = 0 :: else fi;       /* membarrier */
        if
        :: LOOK && VISIBLE > got -> goto leave
        :: else -> skip
        fi;
        if                                               /* select */
        :: atomic { token[me] -> token[me] = 0 }
        :: !gaveUp -> gaveUp = 1; goto leave             /* the context ends */
        fi;
        goto next;
leave:
        atomic { !mu -> mu = 1 };
        if
        :: listed[me] -> d_step { listed[me] = 0; waiting-- }; mu = 0
        :: else ->
           mu = 0;
           if :: TAKE -> atomic { token[me] -> token[me] = 0 } :: else fi
        fi;
next:   skip
     fi
  :: else -> break
  od;
  assert(!token[me] && !listed[me]);
  finished++
}

init {
  atomic { run producer(); run buffer(); run parker(0); run parker(1) }
}
