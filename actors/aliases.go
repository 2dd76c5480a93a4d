package actors

import "github.com/asynkron/protoactor-go/actor"

// These names are protoactor-go's, so that programs need not import it.
type (
	// Actor handles one message at a time in Receive.
	Actor = actor.Actor
	// Context is what Receive gets: the message, the actor's own PID, and ways to send and spawn.
	Context = actor.Context
	// Props says how an actor is made.
	Props = actor.Props
	// PID addresses an actor.
	PID = actor.PID
	// Dispatcher decides where mailboxes run. Schedule must not block.
	Dispatcher = actor.Dispatcher

	// Started is the first message of every incarnation.
	Started = actor.Started
	// Restarting is the last message of an incarnation that failed.
	Restarting = actor.Restarting
	// Stopping is received before the children are stopped.
	Stopping = actor.Stopping
	// Stopped is the last message of an actor.
	Stopped = actor.Stopped
	// Terminated tells a watcher or parent that an actor has stopped.
	Terminated = actor.Terminated
)

// PropsFromProducer makes props of a function that makes an actor: it is called once at the start and
// once for each restart, so what an incarnation holds is gone with it.
func PropsFromProducer(producer func() Actor) *Props {
	return actor.PropsFromProducer(guarded(producer))
}

// PropsFromFunc makes props of a function that handles messages. What the function closes over is kept
// across restarts.
func PropsFromFunc(receive func(ctx Context)) *Props {
	return PropsFromProducer(func() Actor { return actor.ReceiveFunc(receive) })
}
