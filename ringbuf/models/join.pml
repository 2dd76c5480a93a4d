/* join: a consumer is added and closed while several producers publish.

   Model of ringbuf, Ring.Consumer and Consumer.Close of a consumer that follows nobody. The array of
   gating consumers is copied on write. The new consumer takes the claim position, is put into the
   array, and takes the claim position again. A producer whose cached gate is used up loads the array,
   takes the minimum over it, and looks whether the array is still the same one before it believes
   the minimum. Without consumers the gate is the claim position: the ring runs free.

     gates, version   Ring.consumers: who is in the array, and which array it is (its address)
     seq[i]           Consumer.released of consumer i
     gate             Producer.gate
     i in live        its Consumer call has returned, its Close was not called yet

   Proves: no producer writes to a slot that a live consumer has not released.

   Switches:
     FREE=1    begin without any consumer, and add one
     FIX=0     the array is not looked at again: must fail
     AGAIN=0   the new consumer does not take the claim position again: must fail */
#ifndef FREE
#define FREE 0
#endif
#ifndef FIX
#define FIX 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif
#define P 2
#define M 1
#define HEADROOM ((P-1)*M)
#ifndef CAP
#define CAP 3
#endif
#ifndef TOTAL
#define TOTAL 6
#endif

byte claimed;
bit word[TOTAL];       /* published */
byte seq[2];
bit live[2];
byte gates, version;   /* bit i: consumer i is in the array */

inline slowest(g) {
  do
  :: d_step { mask = gates; seen = version };            /* consumers.Load */
     if
     :: mask == 0 -> g = claimed
     :: mask == 1 -> g = seq[0]
     :: mask == 2 -> g = seq[1]
     :: mask == 3 -> g = seq[0]; d_step { if :: seq[1] < g -> g = seq[1] :: else fi }
     fi;
     if
     :: FIX && seen != version -> skip                   /* another array by now: once more */
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
     :: at + M + HEADROOM > gate + CAP -> slowest(gate)
     :: else
     fi;
     if
     :: at + M + HEADROOM <= gate + CAP ->
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
     :: else -> at = 0                                   /* no room: later again */
     fi
  :: else -> break
  od
}

proctype consumer(byte me) {
  if
  :: live[me] -> skip
  :: else ->
     seq[me] = claimed;
     d_step { gates = gates | (1 << me); version++ };
     d_step { if :: AGAIN -> seq[me] = claimed :: else fi; live[me] = 1 }
  fi;
  do
  :: seq[me] < TOTAL && word[seq[me]] -> seq[me]++
  :: seq[me] == TOTAL -> break
  :: d_step { live[me] = 0; gates = gates & ~(1 << me); version++ } -> break  /* Close */
  od
}

init {
  atomic {
    run producer(); run producer();
    if :: FREE -> skip :: else -> gates = 1; live[0] = 1; run consumer(0) fi;
    run consumer(1)
  }
}
