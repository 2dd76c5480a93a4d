// Publishes, reads and follows a topic over HTTP, with what comes with Node.js only.
// usage: bus.mjs URL TOPIC

class Bus {
  constructor(url, topic) {
    this.url = `${url}/v1/topics/${encodeURIComponent(topic)}`;
  }

  async request(path, options = {}) {
    const headers = { ...options.headers };
    if (process.env.LEAT_TOKEN) headers.Authorization = `Bearer ${process.env.LEAT_TOKEN}`;
    const answer = await fetch(this.url + path, { ...options, headers });
    if (!answer.ok) {
      const problem = await answer.json(); // every failed answer is one (RFC 9457)
      throw new Error(`${problem.code} ${problem.detail}: ${problem.hint}`);
    }
    return answer;
  }

  async publish(value, key) {
    const headers = { "Content-Type": "text/plain" };
    if (key !== undefined) headers["Leat-Key"] = key;
    return (await this.request("/messages", { method: "POST", headers, body: value })).json();
  }

  // publishAll publishes many messages in one request, and gives how many were stored and how many failed.
  async publishAll(messages) {
    const body = messages.map((message) => JSON.stringify(message) + "\n").join("");
    // fetch does not read while it writes, so it asks for one answer at the end.
    return (
      await this.request("/messages?receipts=summary", {
        method: "POST",
        headers: { "Content-Type": "application/x-ndjson" },
        body,
      })
    ).json();
  }

  // read gives what there is, page by page.
  async *read(start = "earliest", limit = 100) {
    for (;;) {
      const query = new URLSearchParams({ from: start, limit });
      const page = await (await this.request(`/messages?${query}`)).json();
      if (page.messages.length === 0) return;
      yield* page.messages;
      start = page.next;
    }
  }

  // pull gives messages that this worker has for as long as the group lends them, each with a token.
  async pull(group, most, wait = 20) {
    const query = new URLSearchParams({ max: most, wait });
    const answer = await this.request(`/groups/${group}/pull?${query}`, { method: "POST" });
    return (await answer.json()).messages;
  }

  // settle says ack, nack, reject or extend of messages, and gives for how many of them it was in time.
  async settle(group, verb, tokens, more = {}) {
    const answer = await this.request(`/groups/${group}/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ tokens, ...more }),
    });
    return (await answer.json()).done;
  }

  // follow gives messages with the place behind each, for ever: it connects again where it was.
  async *follow(start = "latest", attempts = 5) {
    for (let failed = 1; failed <= attempts; failed++) {
      const ended = new AbortController();
      try {
        const answer = await this.request("/events", {
          headers: { "Last-Event-ID": start },
          signal: ended.signal,
        });
        for await (const event of events(answer.body)) {
          start = event.id;
          failed = 0;
          if (event.name === "problem") throw new Error(event.data);
          if (event.name === "message") yield { message: JSON.parse(event.data), place: start };
        }
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // that is a connection that was lost
      } finally {
        ended.abort();
      }
      await new Promise((resume) => setTimeout(resume, 100 * 2 ** failed));
    }
    throw new Error("the stream ends again and again");
  }
}

// events cuts a stream of server-sent events: name, data and the last id of each.
async function* events(body) {
  let rest = "";
  let id = "";
  let name = "message";
  let data = [];
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const [, field, value] = line.match(/^([^:]*):? ?(.*)$/);
      if (line === "") {
        if (data.length > 0) yield { name, data: data.join("\n"), id };
        name = "message";
        data = [];
      } else if (field === "event") {
        name = value;
      } else if (field === "data") {
        data.push(value);
      } else if (field === "id") {
        id = value;
      }
    }
  }
}

async function main(url, topic) {
  const bus = new Bus(url, topic);
  const receipt = await bus.publish("hello", "user-1");
  console.log(`published at ${receipt.partition}:${receipt.offset}`);

  const more = ["one", "two", "three"].map((value) => ({ key: "user-1", value }));
  const summary = await bus.publishAll(more);
  console.log(`published ${summary.published} more, ${summary.failed} failed`);

  for await (const message of bus.read("earliest", 2)) console.log("read", message.value);

  let place = "earliest";
  let count = 0;
  while (count < 4) {
    for await (const next of bus.follow(place)) {
      place = next.place;
      console.log("followed", next.message.value);
      if (++count % 2 === 0) break; // as if the program was stopped here: the place is all it needs
    }
    if (count === 2) console.log("connection dropped at", place);
  }

  const work = [];
  while (work.length < 4) work.push(...(await bus.pull("workers", 4 - work.length)));
  for (const message of work) console.log("pulled", message.value);
  const [first, ...rest] = work.map((message) => message.token);
  await bus.settle("workers", "nack", [first], { delay_ms: 0 });
  console.log("acked", await bus.settle("workers", "ack", rest));
  const [again] = await bus.pull("workers", 1);
  console.log(`pulled ${again.value}, attempt ${again.attempt}`);
  console.log("acked", await bus.settle("workers", "ack", [again.token]));
}

const [url, topic] = process.argv.slice(2);
if (topic === undefined) {
  console.error("usage: bus.mjs URL TOPIC");
  process.exit(2);
}
await main(url, topic);
