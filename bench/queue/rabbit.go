package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	rabbitPending  = 4096 // publishes that are not confirmed
	rabbitPrefetch = 300
	// rabbitScript is the server without the wrapper of Debian, which changes the user.
	rabbitScript = "/usr/lib/rabbitmq/bin/rabbitmq-server"
)

var rabbit = kind{name: "RabbitMQ", role: benchkit.Peer, level: "disk",
	note: fmt.Sprintf("a quorum queue, one replica, which syncs before it confirms; publisher confirms, %d "+
		"outstanding; prefetch %d, an ack for each message; plain TCP", rabbitPending, rabbitPrefetch),
	start: startRabbit}

// startRabbit starts a RabbitMQ server with a port mapper of its own.
func startRabbit(ctx context.Context, s *stage) (system, []*process, error) {
	program := rabbitScript
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("rabbitmq-server"); err != nil {
			return nil, nil, benchkit.Skipf("no rabbitmq-server: apt-get install rabbitmq-server")
		}
	}
	dir, err := s.folder("rabbitmq")
	if err != nil {
		return nil, nil, err
	}
	ports := make([]string, 3)
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, nil, err
		}
	}
	var processes []*process
	if mapper, err := exec.LookPath("epmd"); err == nil { // else the server starts one, which stays
		p, _, err := s.start(ctx, exec.Command(mapper, "-port", ports[2], "-address", "127.0.0.1"), nil)
		if err != nil {
			return nil, nil, err
		}
		processes = append(processes, p)
	}
	command, err := rabbitCommand(program, dir, ports)
	if err != nil {
		return nil, nil, err
	}
	p, _, err := s.start(ctx, command, nil)
	if err != nil {
		return nil, nil, err
	}
	system := &rabbitSystem{url: "amqp://guest:guest@" + net.JoinHostPort("127.0.0.1", ports[0])}
	return system, append(processes, p), p.await(ctx, func() error {
		connection, err := amqp.Dial(system.url)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}

// rabbitCommand is the server with everything it writes in dir. The ports are its own, the one for other
// nodes, and that of the port mapper.
func rabbitCommand(program, dir string, ports []string) (*exec.Cmd, error) {
	files := map[string]string{
		"rabbitmq.conf":   "log.file.level = error\nlog.console = true\nlog.console.level = error\n",
		"enabled_plugins": "[].\n", "env.conf": "",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), "HOME="+dir, "ERL_EPMD_PORT="+ports[2],
		"RABBITMQ_NODENAME=leatbench@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+ports[0], "RABBITMQ_DIST_PORT="+ports[1],
		"RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "env.conf"),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"))
	return command, nil
}

// rabbitSystem is a RabbitMQ server.
type rabbitSystem struct {
	url  string
	made bool // the queue is there
}

func (s *rabbitSystem) open(ctx context.Context, workers int) (_ *line, err error) {
	l := &line{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	channel, err := l.connectRabbit(s.url)
	if err != nil {
		return nil, err
	}
	if !s.made {
		kind := amqp.Table{"x-queue-type": "quorum"}
		if _, err := channel.QueueDeclare(queueName, true, false, false, false, kind); err != nil {
			return nil, err
		}
		s.made = true
	}
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	p := &rabbitPublisher{channel: channel, open: make(chan struct{}, rabbitPending)}
	p.watch(channel.NotifyPublish(make(chan amqp.Confirmation, rabbitPending)))
	l.publisher = p
	for range workers {
		own, err := l.connectRabbit(s.url)
		if err != nil {
			return nil, err
		}
		if err := own.Qos(rabbitPrefetch, 0, false); err != nil {
			return nil, err
		}
		l.workers = append(l.workers, &rabbitWorker{own})
	}
	return l, nil
}

func (l *line) connectRabbit(url string) (*amqp.Channel, error) {
	connection, err := amqp.Dial(url)
	if err != nil {
		return nil, err
	}
	l.later(connection.Close)
	return connection.Channel()
}

// rabbitPublisher publishes without waiting for each confirm.
type rabbitPublisher struct {
	channel *amqp.Channel
	open    chan struct{} // a token for each publish that is not confirmed
	refused error         // guarded by ended
	ended   chan struct{} // closed when no confirm comes any more
}

// watch takes confirms until the channel is closed.
func (p *rabbitPublisher) watch(confirms <-chan amqp.Confirmation) {
	p.ended = make(chan struct{})
	go func() {
		for c := range confirms {
			if !c.Ack {
				p.refused = fmt.Errorf("RabbitMQ refused message %d", c.DeliveryTag)
				break
			}
			<-p.open
		}
		close(p.ended)
		for range confirms { // the connection waits for whoever listens
		}
	}()
}

// take takes a token, or says why there is none.
func (p *rabbitPublisher) take(ctx context.Context) error {
	select {
	case p.open <- struct{}{}:
		return nil
	case <-p.ended:
		if p.refused != nil {
			return p.refused
		}
		return errors.New("RabbitMQ closed the channel")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *rabbitPublisher) publish(ctx context.Context, _, value []byte) error {
	if err := p.take(ctx); err != nil {
		return err
	}
	return p.channel.PublishWithContext(ctx, "", queueName, false, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, Body: value})
}

// flush takes all tokens, which are there when everything is confirmed, and gives them back.
func (p *rabbitPublisher) flush(ctx context.Context) error {
	for range rabbitPending {
		if err := p.take(ctx); err != nil {
			return err
		}
	}
	for range rabbitPending {
		<-p.open
	}
	return nil
}

// rabbitWorker is a consumer with a connection of its own.
type rabbitWorker struct {
	channel *amqp.Channel
}

func (w *rabbitWorker) work(ctx context.Context, h *hand) error {
	deliveries, err := w.channel.Consume(queueName, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("RabbitMQ closed the channel")
			}
			h.see(d.Body)
			if err := d.Ack(false); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// settle asks something on the channel of the acks, so that the server has read those when it answers.
func (w *rabbitWorker) settle(context.Context) error {
	_, err := w.channel.QueueDeclarePassive(queueName, true, false, false, false, nil)
	return err
}
