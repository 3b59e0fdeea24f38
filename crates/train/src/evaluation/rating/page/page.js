"use strict";
{
  const study = JSON.parse(document.getElementById("study").textContent);
  const find = (id) => document.getElementById(id);
  const kept = `desumnet-rating ${study.page}`;
  const count = study.videos.length;

  // What a sitting consists of: the drawn order, what was watched and rated, and the screen that is shown: -1 the introduction, then
  // the videos, then the end.
  function begin() {
    const shuffled = (list) => {
      const left = [...list];
      return list.map(() => left.splice(Math.floor(Math.random() * left.length), 1)[0]);
    };
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    return {
      sitting: [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
      rater: "",
      order: shuffled(study.videos).map(({ video, original, versions }) => ({ video, original, shown: shuffled(versions) })),
      watched: {},
      ratings: {},
      at: -1,
    };
  }

  function restore() {
    try {
      return JSON.parse(localStorage.getItem(kept)) ?? begin();
    } catch {
      return begin();
    }
  }

  function keep() {
    try {
      localStorage.setItem(kept, JSON.stringify(state));
    } catch {
      find("unkept").hidden = false;
    }
  }

  let state = restore();
  // Of the video that is shown: the original, then its versions.
  let players = [];
  let current = 0;

  const all = () => state.order.flatMap(({ shown }) => shown);
  const unrated = (versions) => versions.filter((version) => !(version in state.ratings));
  const letter = (place) => String.fromCharCode(65 + place);

  // Films lie in the page as text. From it one becomes a file of the browser's own, in which it can seek.
  const addresses = new Map();
  function address(name) {
    if (study.files[name]) return study.files[name];
    if (!addresses.has(name)) {
      const bytes = Uint8Array.from(atob(find(`film-${name}`).textContent), (letter) => letter.charCodeAt(0));
      addresses.set(name, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
    }
    return addresses.get(name);
  }

  function forget() {
    for (const { video } of players) {
      video.removeAttribute("src");
      video.load();
    }
    for (const url of addresses.values()) URL.revokeObjectURL(url);
    addresses.clear();
    players = [];
  }

  // Nearly all of it has been played, in whatever order.
  function seen(video) {
    let played = 0;
    for (let i = 0; i < video.played.length; i++) played += video.played.end(i) - video.played.start(i);
    return video.duration > 0 && played >= Math.min(0.9 * video.duration, Math.max(video.duration - 0.5, 0));
  }

  function player(figure, name) {
    const video = figure.querySelector("video");
    const made = { figure, video, name, place: players.length };
    const look = () => {
      if (state.watched[name] || !seen(video)) return;
      state.watched[name] = true;
      keep();
      // From the original on to the versions; a version waits for its rating.
      if (made.place === 0) mark(1);
      refresh();
    };
    for (const event of ["timeupdate", "pause", "ended"]) video.addEventListener(event, look);
    video.addEventListener("play", () => {
      for (const other of players) if (other !== made) other.video.pause();
      mark(made.place);
    });
    video.addEventListener("error", () => {
      if (!video.getAttribute("src")) return;
      const broken = figure.querySelector(".broken");
      broken.textContent = "This browser can’t play it: open the page in another one, such as Firefox or Chromium. If that does not help, "
        + "the page or the folder of its videos is not whole: ask for it again.";
      broken.hidden = false;
    });
    players.push(made);
    return made;
  }

  // Which player the keys are for.
  function mark(place) {
    current = place;
    for (const { figure, place } of players) figure.classList.toggle("current", place === current);
  }

  function show() {
    forget();
    find("intro").hidden = state.at >= 0;
    find("rating").hidden = state.at < 0 || state.at >= count;
    find("end").hidden = state.at < count;
    find("rater").value = state.rater;
    find("saved").textContent = "";
    const versions = find("versions");
    versions.replaceChildren();
    if (state.at >= 0 && state.at < count) {
      const { original, shown } = state.order[state.at];
      // A new element, without what the last video's has played.
      const old = find("original").querySelector("video");
      old.replaceWith(old.cloneNode());
      find("original").querySelector(".broken").hidden = true;
      player(find("original"), original).video.src = address(original);
      shown.forEach((version, place) => {
        const figure = find("version").content.firstElementChild.cloneNode(true);
        figure.querySelector("figcaption").textContent = `Time-lapse ${letter(place)}`;
        figure.querySelector("legend").textContent = `Your rating of time-lapse ${letter(place)}`;
        for (const input of figure.querySelectorAll("input")) {
          input.name = version;
          input.addEventListener("change", () => rate(place + 1, Number(input.value)));
        }
        versions.append(figure);
        player(figure, version);
      });
      mark(state.watched[original] ? 1 : 0);
    }
    refresh();
    scrollTo(0, 0);
  }

  // Everything that follows from the state.
  function refresh() {
    const missing = unrated(all()).length;
    find("where").hidden = find("progress").hidden = state.at < 0;
    find("where").textContent = state.at < count ? `Video ${state.at + 1} of ${count}` : "All videos";
    find("progress").value = all().length - missing;
    find("save").disabled = missing > 0;
    find("thanks").textContent = missing > 0
      ? `${missing} of ${all().length} time-lapses are not rated yet. Go back and rate them; then you can save.`
      : `Thank you! You rated all ${all().length} time-lapses. Save your ratings, and send the file to whoever gave you this page.`;
    if (players.length === 0) return;
    const { original, shown } = state.order[state.at];
    const open = Boolean(state.watched[original]);
    find("versions").hidden = !open;
    for (const { figure, video, name } of players.slice(1)) {
      // Not before they are seen, that a phone need not hold them all.
      if (open && !video.getAttribute("src")) video.src = address(name);
      figure.querySelector("fieldset").disabled = !state.watched[name];
      figure.classList.toggle("rated", name in state.ratings);
      for (const input of figure.querySelectorAll("input")) input.checked = state.ratings[name] === Number(input.value);
    }
    const left = unrated(shown).map((version) => letter(shown.indexOf(version)));
    find("next").disabled = left.length > 0;
    find("next").textContent = state.at + 1 < count ? "Next video" : "To the end";
    if (!open) find("hint").textContent = "Watch the original to its end: then its time-lapses appear.";
    else if (left.length > 0) find("hint").textContent = `Watch each time-lapse, then rate it from 1 (worst) to 5 (best). To be rated: ${left.join(", ")}.`;
    else find("hint").textContent = "All are rated. You may change your ratings, or go on.";
  }

  function rate(place, rating) {
    const { name } = players[place];
    if (!state.watched[name]) {
      find("hint").textContent = `Watch time-lapse ${letter(place - 1)} to its end before you rate it.`;
      return;
    }
    const first = !(name in state.ratings);
    state.ratings[name] = rating;
    keep();
    refresh();
    const next = players.find((player) => player.place > 0 && !(player.name in state.ratings));
    if (next) mark(next.place);
    else if (first) find("next").focus();
    if (first && next) next.figure.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  function go(at) {
    state.at = at;
    keep();
    document.activeElement?.blur();
    show();
  }

  find("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    state.rater = find("rater").value.trim();
    go(0);
  });
  find("back").addEventListener("click", () => go(state.at - 1));
  find("next").addEventListener("click", () => go(state.at + 1));
  find("end-back").addEventListener("click", () => go(count - 1));

  find("save").addEventListener("click", () => {
    if (unrated(all()).length > 0) return;
    const { sitting, rater, order, ratings } = state;
    const videos = order.map(({ video, shown }) => ({
      video,
      shown,
      ratings: Object.fromEntries(shown.map((version) => [version, ratings[version]])),
    }));
    const sheet = { format: "desumnet-ratings", page: study.page, sitting, rater: rater || null, videos };
    const name = `ratings-${rater.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || sitting}.json`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(sheet, null, 2)}\n`], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    find("saved").textContent = `Saved as ${name}, where this browser puts what it downloads.`;
  });

  find("anew").addEventListener("click", () => {
    if (!confirm("Begin anew? The ratings that are in this page are forgotten: save them first.")) return;
    state = begin();
    go(-1);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || players.length === 0) return;
    if (/^[1-5]$/.test(event.key) && current > 0) {
      event.preventDefault();
      rate(current, Number(event.key));
    } else if (event.key === " " && !event.target.closest("button, input, video")) {
      event.preventDefault();
      const { video } = players[current];
      // Refused where the file can't be played, which the error event tells.
      if (video.paused) video.play().catch(() => {});
      else video.pause();
    }
  });

  show();
}
