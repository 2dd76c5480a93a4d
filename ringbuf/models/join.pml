/* join: consumers are added and closed while several producers publish.

   Model of ringbuf, Ring.Consumer and Consumer.Close. The list of consumers is copied on write. A new
   consumer takes the end of what is published, is put into the list, and takes it again. A producer
   whose cached gate is used up loads the list, takes the minimum over it, and looks whether the list is
   still the same one before it believes the minimum. While there is no consumer, the sink stands for
   them: whoever wants room moves it to the end of what is published.

     gates, version   Ring.gates: who is in the list, 0 for the sink alone; and which list it is (its address)
     seq[i], sink     released of consumer i, and of the sink
     word[s]          the availability word that a claim of one slot at sequence s writes; it hides the word
                      of one lap before
     mu               Ring.mu
     gate             Producer.gate
     live[i]          its Consumer call has returned, its Close was not called yet
     deps             consumer 1 follows consumer 0

   Proves: no producer writes to a slot that a live consumer has not released, nor to one that another
   producer is still writing; a follower is never in front of what it follows.

   Switches:
     FREE=1    begin without any consumer, and add one
     AFTER=1   the new consumer comes after the one that is there
     FIX=0     the list is not looked at again: must fail
     AGAIN=0   the new consumer does not take its sequence again: must fail
     CLAIM=1   the new consumer takes the end of what is claimed: must fail, for the others may close
     SINK=1    the sink takes the end of what is claimed: must fail
     LEAVES=1  producers do not wait for a consumer that another one follows: must fail with AFTER=1, for
               the follower starts in front of it
   Sizes: two producers, claims of one slot, CAP slots, TOTAL claims. */
#ifndef FREE
#define FREE 0
#endif
#ifndef AFTER
#define AFTER 0
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifndef FIX
#define FIX 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif
#ifndef CLAIM
#define CLAIM 0
#endif
#ifndef SINK
#define SINK 0
#endif
#ifndef TOTAL
#define TOTAL 4
#endif
#define HEADROOM 1
#ifndef CAP
#define CAP 2
#endif

byte claimed;
bit word[TOTAL+CAP+1];
byte seq[2], sink;
bit live[2];
byte gates, version;   /* bit i: consumer i is in the list */
bit mu, deps;

#define HERE(s) (word[s] && !word[(s)+CAP])

/* Ring.follow: the end of the published claims from at on. */
inline follow(at) {
  do
  :: at < TOTAL && HERE(at) -> at++
  :: else -> break
  od
}

inline slowest(g) {
  do
  :: d_step { mask = gates; seen = version };
     if
     :: mask == 0 ->                                     /* drain */
        atomic { !mu -> mu = 1 };
        if
        :: gates == 0 ->
           g = sink;
           if :: SINK -> g = claimed :: else -> follow(g) fi;
           sink = g
        :: else
        fi;
        mu = 0;
        g = sink
     :: mask == 1 -> g = seq[0]
     :: mask == 2 -> g = seq[1]
     :: mask == 3 -> g = seq[0]; d_step { if :: seq[1] < g -> g = seq[1] :: else fi }
     fi;
     if
     :: FIX && seen != version -> skip                   /* another list by now: once more */
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
          assert(from < CAP || word[from-CAP]);
          word[from] = 1;
          from = 0
        }
     :: else -> at = 0                                   /* no room: later again */
     fi
  :: else -> break
  od
}

inline published(at) {
  if
  :: CLAIM -> at = claimed
  :: else ->
     at = sink;
     d_step { if :: (gates & 1) && seq[0] > at -> at = seq[0] :: else fi };
     d_step { if :: (gates & 2) && seq[1] > at -> at = seq[1] :: else fi };
     follow(at)
  fi
}

proctype consumer(byte me) {
  byte at;
  if
  :: live[me] -> skip
  :: else ->
     atomic { !mu -> mu = 1 };
     if :: AFTER && !live[0] -> mu = 0; goto done :: else fi;   /* an error */
     published(at);
     seq[me] = at;
     d_step {
       deps = AFTER;
       gates = (LEAVES && AFTER -> 2 : gates | (1 << me));
       version++
     };
     if :: AGAIN -> published(at) :: else fi;
     atomic { seq[me] = at; at = 0; live[me] = 1; mu = 0 }
  fi;
  do
  :: seq[me] < TOTAL && HERE(seq[me]) && (me == 0 || !deps || seq[1] < seq[0]) ->
     seq[me]++;
     assert(!AFTER || me == 0 || !live[0] || seq[1] <= seq[0])
  :: seq[me] == TOTAL -> break
  :: atomic { !mu -> mu = 1 };                           /* Close */
     at = seq[me];
     follow(at);                                         /* as far as it had looked: Consumer.boundary */
     atomic {
       live[me] = 0;
       if :: me == 0 -> deps = 0 :: else fi;
       gates = (LEAVES && AFTER && me == 1 -> live[0] : gates & ~(1 << me));
       version++;
       if :: gates == 0 && at > sink -> sink = at :: else fi;
       at = 0;
       mu = 0
     };
     break
  od;
done: skip
}

init {
  atomic {
    run producer(); run producer();
    if :: FREE -> skip :: else -> gates = 1; live[0] = 1; run consumer(0) fi;
    run consumer(1)
  }
}
