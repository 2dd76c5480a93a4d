/* headroom: wait for room first, then add; and Close by a bit in the claim word.

   Model of ringbuf with several producers: a producer waits until
     claimed + n + headroom <= slowest + size,   headroom = (Producers-1) x MaxBatch
   and then adds n to the claim word without a condition. Seal sets a bit of the same word, so each
   add falls before or after it, and the sequence it found is the end of the ring.

     claimed, sealed   the two parts of Ring.cursor; one atomic operation reads or changes both
     end               Ring.end, stored after the bit
     gate              Producer.gate, the cached past value of slowest()
     released          the slowest consumer

   TryClaim and ClaimUpTo are here too: n is any size there is room for, and a look without success
   may give up (as the end of a context does) with nothing to undo.

   Proves: no claim ever reaches a slot that is not released; every claim that succeeded lies before
   end and is consumed; every claim after end fails; nobody waits for ever.

   Switches, each of which must make it fail:
     H          headroom; one less than (P-1)*M overtakes the consumer
     SEALBIT=0  the result of the add is not looked at for the bit */
#ifndef P
#define P 2
#endif
#ifndef M
#define M 2
#endif
#ifndef K
#define K 5
#endif
#ifndef H
#define H ((P-1)*M)
#endif
#ifndef SEALBIT
#define SEALBIT 1
#endif
#define CAP 4
#define OPEN 255

byte claimed;
bit sealed;
byte left = K;         /* claims still to be tried */
byte end = OPEN;
byte released;
byte word[M*K+1];  /* slots of the claim published at a sequence */
byte accepted;         /* slots of all claims that succeeded */
byte finished;

proctype producer() {
  byte n, gate, at, from;
  bit shut;
  do
  :: atomic { left > 0 -> left-- };
     if :: n = 1 :: M > 1 -> n = M fi;
look:
     atomic { at = claimed; shut = sealed };             /* cursor.Load */
     if
     :: shut -> break                                    /* ErrClosed */
     :: !shut && at + n + H > gate + CAP ->
        gate = released;                                 /* slowest() */
        if
        :: at + n + H <= gate + CAP -> skip
        :: else ->
           if
           :: skip                                       /* await room, or the end */
           :: goto next                                  /* TryClaim: false; Claim: ctx.Err() */
           fi;
           (end != OPEN || claimed + n + H <= released + CAP);
           goto look
        fi
     :: else
     fi;
     atomic { from = claimed; claimed = claimed + n; shut = sealed };   /* cursor.Add */
     if
     :: shut && SEALBIT -> break                         /* beyond the end, where nobody looks */
     :: else -> d_step { assert(from + n <= released + CAP); accepted = accepted + n }
     fi;
     word[from] = n;                                     /* Publish */
next:
     atomic { at = 0; from = 0; n = 0 }
  :: left == 0 -> break
  od;
  finished++
}

proctype closer() {
  byte at;
  d_step { at = claimed; sealed = 1 };                   /* cursor.Or */
  end = at
}

proctype consumer() {
  do
  :: released < end && word[released] != 0 -> released = released + word[released]
  :: released >= end -> break
  od;
  assert(released == end);
  (finished == P);
  assert(accepted == end)
}

init {
  byte i;
  atomic {
    do :: i < P -> run producer(); i++ :: else -> break od;
    run consumer();
    run closer()
  }
}
