/* join_try: a consumer is added and closed while the only producer publishes with a plain MOV.

   Model of a ringbuf with one producer on a processor that delays stores (x86-TSO). There is no claim
   word: the producer's own next is ahead of the cursor that others see by what is still in its store
   buffer. It claims with TryClaim or Send; an Abort changes nothing here, so it is not modelled.

     next, gate       the fields of Producer
     pending          publishes in its store buffer: others see the cursor next - pending
     gates, version   Ring.gates: who is in the list, 0 for the sink alone; and which list it is (its address)
     seq[i], sink     released of consumer i, and of the sink
     mu               Ring.mu; taking it is a locked instruction

   Proves: the producer never writes to a slot that a live consumer has not released.

   What join.pml shows for several producers is needed here for another reason: the minimum may be newer
   than the cursor that the new consumer saw. And where the ring runs free, the sink may not move to where
   only the producer knows that it is: drain takes Ring.mu, a locked instruction, before it looks.

   Switches:
     XCHG=1    publish with XCHG: nothing is ever pending
     FREE=1    begin without any consumer
     FIX=0     the list is not looked at again: must fail with MOV, and would pass with XCHG
     AGAIN=0   the new consumer does not take the cursor again: must fail
     FENCE=0   the sink moves to the producer's own next: must fail */
#ifndef XCHG
#define XCHG 0
#endif
#ifndef FREE
#define FREE 0
#endif
#ifndef FIX
#define FIX 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif
#ifndef FENCE
#define FENCE 1
#endif
#define CAP 2
#define TOTAL 8
#define DEPTH 2        /* of the store buffer */

byte next, pending;
byte seq[2], sink;
bit live[2];
byte gates, version;
bit finished, mu;

#define CURSOR (next - pending)

inline slowest(g) {
  do
  :: d_step { mask = gates; seen = version };
     if
     :: mask == 0 ->                                     /* drain */
        atomic { !mu -> mu = 1; if :: FENCE -> pending = 0 :: else fi };
        if
        :: gates == 0 && sink < next -> sink = (FENCE -> CURSOR : next)
        :: else
        fi;
        mu = 0;
        g = sink
     :: mask == 1 -> g = seq[0]
     :: mask == 2 -> g = seq[1]
     :: mask == 3 -> g = seq[0]; d_step { if :: seq[1] < g -> g = seq[1] :: else fi }
     fi;
     if
     :: FIX && seen != version -> skip
     :: FIX && seen == version -> break
     :: else -> break
     fi
  od;
  atomic { mask = 0; seen = 0 }
}

proctype producer() {
  byte gate, mask, seen;
  do
  :: next < TOTAL ->
     if
     :: next + 1 > gate + CAP -> slowest(gate)
     :: else
     fi;
     if
     :: next + 1 <= gate + CAP ->
        d_step {                                         /* writing the slot */
          assert(!live[0] || next < seq[0] + CAP);
          assert(!live[1] || next < seq[1] + CAP)
        };
        if
        :: XCHG -> next++
        :: else -> atomic { pending < DEPTH -> pending++; next++ }   /* Publish: MOV */
        fi
     :: else
     fi
  :: else -> break
  od;
  finished = 1
}

/* The store buffer drains at any time. */
proctype buffer() {
  do
  :: atomic { pending > 0 -> pending-- }
  :: finished && pending == 0 -> break
  od
}

proctype consumer(byte me) {
  if
  :: live[me] -> skip
  :: else ->
     atomic { !mu -> mu = 1 };
     seq[me] = CURSOR;
     d_step { gates = gates | (1 << me); version++ };
     d_step { if :: AGAIN -> seq[me] = CURSOR :: else fi; live[me] = 1; mu = 0 }
  fi;
  do
  :: seq[me] < CURSOR -> seq[me]++
  :: seq[me] == TOTAL -> break
  :: atomic { !mu -> mu = 1 };                           /* Close */
     atomic {
       live[me] = 0;
       gates = gates & ~(1 << me);
       version++;
       if :: gates == 0 && seq[me] > sink -> sink = seq[me] :: else fi;
       mu = 0
     };
     break
  od
}

init {
  atomic {
    if :: FREE -> skip :: else -> gates = 1; live[0] = 1 fi;
    run producer(); run buffer();
    run consumer(0); run consumer(1)
  }
}
