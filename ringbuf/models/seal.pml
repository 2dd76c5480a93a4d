/* seal: Seal and the only producer agree on where the ring ends, without a word that both change.

   Model of a ringbuf with one producer on a processor that delays stores (x86-TSO). The producer makes a
   claim visible, or a slot published by Send, and looks at end; Seal sets end and looks at both. The
   producer has no fence between the two, so Seal has a barrier.

     end                 Ring.end: OPEN, SEALING, or where the ring ends
     cursor, claims      Ring.cursor and Ring.claims, as others see them
     next                Producer.next
     buf                 the producer's store buffer
     mu                  Ring.mu; taking it is a locked instruction
     accepted, refused   what the producer was told of each sequence

   Proves: a consumer is given every slot whose Send or Publish succeeded, and none that was refused or
   given up; it comes to an end.

   Switches, each of which must make it fail:
     BARRIER=0   Seal does not make the producer's stores visible
     LOWER=0     a claim that is withdrawn does not lower the end
     LOCK=0      a Send that finds the ring sealed does not wait until the end is known
     PATIENT=0   a consumer goes on while Seal is at work */
#ifndef BARRIER
#define BARRIER 1
#endif
#ifndef LOWER
#define LOWER 1
#endif
#ifndef LOCK
#define LOCK 1
#endif
#ifndef PATIENT
#define PATIENT 1
#endif
#ifndef TOTAL
#define TOTAL 4
#endif
#define OPEN 255
#define SEALING 254
#define CURSOR 0
#define CLAIMS 1

byte end = OPEN;
byte word[2];          /* cursor, claims */
chan buf = [2] of { bit, byte };
bit mu, finished;
bit accepted[TOTAL+1], refused[TOTAL+1];

#define KNOWN (end < SEALING)
#define LIMIT (word[CURSOR] < end -> word[CURSOR] : end)

inline drain() {
  do
  :: buf?which,value -> word[which] = value
  :: empty(buf) -> break
  od;
  which = 0; value = 0
}

inline lock() { atomic { !mu -> mu = 1; drain() } }

inline withdraw() {
  buf!CLAIMS,next;
  if
  :: end != OPEN && LOWER ->
     lock();
     atomic { if :: word[CURSOR] < end -> end = word[CURSOR] :: else fi; mu = 0 }
  :: else
  fi
}

proctype producer() {
  byte next, tries, value;
  bit which;
  do
  :: tries < TOTAL ->
     tries++;
     if
     :: /* Send: nobody is told of the claim */
        end == OPEN;
        next++;
        buf!CURSOR,next;
        if
        :: end == OPEN -> accepted[next-1] = 1
        :: else ->
           if :: LOCK -> lock() :: else fi;
           atomic {
             if :: next <= end -> accepted[next-1] = 1 :: else -> refused[next-1] = 1 fi;
             if :: LOCK -> mu = 0 :: else fi
           };
           break
        fi
     :: /* Claim */
        buf!CLAIMS,next+1;
        if
        :: end != OPEN -> withdraw(); refused[next] = 1; break
        :: else
        fi;
        if
        :: next++; buf!CURSOR,next; accepted[next-1] = 1     /* Publish */
        :: withdraw()                                        /* Abort */
        fi
     :: end != OPEN -> break
     fi
  :: else -> break
  od;
  finished = 1
}

proctype buffer() {
  bit which;
  byte value;
  do
  :: atomic { buf?which,value -> word[which] = value; which = 0; value = 0 }
  :: finished && empty(buf) -> break
  od
}

proctype sealer() {
  byte last, value;
  bit which;
  atomic { !mu -> mu = 1 };
  end = SEALING;
  if :: BARRIER -> atomic { drain() } :: else fi;
  last = word[CURSOR];
  if :: word[CLAIMS] > last -> last = word[CLAIMS] :: else fi;
  end = last;
  mu = 0
}

proctype consumer() {
  byte at, seen;
  do
  :: word[CURSOR] > at ->
     seen = word[CURSOR];
     if
     :: end == SEALING && PATIENT -> (end != SEALING)        /* nothing yet: look again */
     :: else ->
        if :: end < seen -> seen = end :: else fi;
        if :: seen > at -> at = seen :: else fi
     fi;
     seen = 0
  :: KNOWN && at >= end -> break
  od;
  (finished);
  seen = 0;
  do
  :: seen < TOTAL ->
     assert(!accepted[seen] || seen < at);
     assert(!refused[seen] || seen >= at);
     seen++
  :: else -> break
  od
}

init { atomic { run producer(); run buffer(); run sealer(); run consumer() } }
