// Notes what the page asks the queue and what is answered, so that a test can wait for `atRest`. Open streams of answers
// are no measure: gradio sometimes opens two at a time, and one of them stays open.
(() => {
  const ask = window.fetch;
  const asked = new Set();
  const answered = new Set();
  let sent = 0;

  const noteQuestion = async (answer) => {
    const { event_id } = await (await answer).clone().json();
    if (event_id) asked.add(event_id); // a full queue gives none
  };

  const noteAnswers = async (stream) => {
    let text = "";
    for await (const part of (await stream).clone().body.pipeThrough(new TextDecoderStream())) {
      const lines = (text + part).split("\n");
      text = lines.pop();
      for (const line of lines.filter((line) => line.includes('"process_completed"')))
        answered.add(JSON.parse(line.replace(/^data:/, "")).event_id);
    }
  };

  window.atRest = () => sent === 0 && [...asked].every((event) => answered.has(event));
  // What a page says of answers that leaving it cuts off is no fault.
  addEventListener("beforeunload", () => (console.error = () => {}));
  window.fetch = (what, ...how) => {
    const url = String(what.url ?? what);
    const answer = ask(what, ...how);
    if (url.includes("/queue/join")) {
      sent++;
      noteQuestion(answer)
        .catch(() => {})
        .finally(() => sent--);
    }
    if (url.includes("/queue/data")) noteAnswers(answer).catch(() => {}); // the page closes it
    return answer;
  };
})();
