/* follow: a consumer that follows another takes its place as a gate.

   Model of ringbuf, Ring.Consumer with After(c), and Close of either. Producers wait for leaves only:
   consumers that nobody follows. The follower starts where c has released to, is swapped into the
   array in the place of c in one step, and takes what c has released once more. When the follower is
   closed, c is the gate again, in one step; when c is closed, the follower follows the producers.

     gates, version      Ring.consumers: who is in the array, and which array it is (its address)
     seq[0], seq[1]      released of c and of the follower
     deps                what the follower waits for: LEADER or the published slots
     mu                  Ring.mu, held by Consumer and Close
     gate                Producer.gate

   Proves: no producer writes to a slot that c or the follower has not released, whoever comes and goes.

   Switches, each of which must make it fail:
     FIX=0     a producer does not look at the array again after the minimum
     AGAIN=0   the follower does not take c's position again after the swap
     FIRST=1   the follower starts at the claim position, as a consumer without After does
     SWAP=0    at the follower's end the array is changed in two steps: without it, then with c */
#ifndef FIX
#define FIX 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif
#ifndef FIRST
#define FIRST 0
#endif
#ifndef SWAP
#define SWAP 1
#endif
#define P 2
#define HEADROOM (P-1)
#define CAP 3
#ifndef TOTAL
#define TOTAL 5
#endif

byte claimed;
bit word[TOTAL];       /* published */
byte seq[2];
bit live[2];
byte gates, version;   /* bit i: consumer i is in the array */
bit deps;              /* 1: LEADER */
bit mu;

#define PUBLISHED(s) (s < TOTAL && word[s])

inline slowest(g) {
  do
  :: d_step { mask = gates; seen = version };
     if
     :: mask == 0 -> g = claimed
     :: mask == 1 -> g = seq[0]
     :: mask == 2 -> g = seq[1]
     fi;
     if
     :: FIX && seen != version -> skip
     :: else -> break
     fi
  od;
  atomic { mask = 0; seen = 0 }
}

proctype producer() {
  byte gate, at, from, mask, seen;
  do
  :: claimed < TOTAL ->
     at = claimed;
     if
     :: at + 1 + HEADROOM > gate + CAP -> slowest(gate)
     :: else
     fi;
     if
     :: at + 1 + HEADROOM <= gate + CAP ->
        if
        :: atomic { claimed < TOTAL -> at = 0; from = claimed; claimed++ }
        :: claimed == TOTAL -> break
        fi;
        d_step {                                         /* writing the slot, and Publish */
          assert(!live[0] || from < seq[0] + CAP);
          assert(!live[1] || from < seq[1] + CAP);
          word[from] = 1;
          from = 0
        }
     :: else -> at = 0
     fi
  :: else -> break
  od
}

proctype leader() {
  do
  :: PUBLISHED(seq[0]) -> seq[0]++
  :: seq[0] == TOTAL -> break
  :: atomic { !mu -> mu = 1 };                           /* Close */
     d_step {
       live[0] = 0;
       deps = 0;
       if :: gates == 1 -> gates = 0; version++ :: else fi
     };
     mu = 0;
     break
  od
}

proctype follower() {
  atomic { !mu -> mu = 1 };
  if
  :: !live[0] -> mu = 0                                  /* c is closed: nothing to follow */
  :: else ->
     deps = 1;
     if :: FIRST -> seq[1] = claimed :: else -> seq[1] = seq[0] fi;
     d_step { gates = 2; version++ };
     d_step { if :: AGAIN -> seq[1] = seq[0] :: else fi; live[1] = 1 };
     mu = 0;
     do
     :: deps == 1 && seq[1] < seq[0] -> seq[1]++
     :: deps == 0 && PUBLISHED(seq[1]) -> seq[1]++
     :: seq[1] == TOTAL -> break
     :: atomic { !mu -> mu = 1 };                        /* Close */
        if
        :: SWAP -> d_step { live[1] = 0; gates = live[0]; version++ }
        :: else -> d_step { live[1] = 0; gates = 0; version++ }; d_step { gates = live[0]; version++ }
        fi;
        mu = 0;
        break
     od
  fi
}

init {
  atomic {
    gates = 1; live[0] = 1;
    run producer(); run producer();
    run leader(); run follower()
  }
}
