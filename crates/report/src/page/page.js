"use strict";
{
  const video = document.getElementById("video");
  const skim = document.getElementById("skim");
  const scroll = document.getElementById("scroll");
  const strip = document.getElementById("strip");
  const overview = document.getElementById("overview");
  const duration = Number(strip.dataset.duration);
  // Where the player has the first picture, from which all other times count.
  const first = Number(strip.dataset.first);
  const shots = [...strip.querySelectorAll(".shot")].map((button) => ({
    button,
    start: Number(button.dataset.start),
    end: Number(button.dataset.end),
  }));
  const parts = [...strip.querySelectorAll("rect")].map((rect) => ({
    start: Number(rect.dataset.start),
    end: Number(rect.dataset.end),
    output: Number(rect.dataset.output),
  }));

  function play(seconds) {
    video.currentTime = first + seconds;
    video.scrollIntoView({ block: "nearest" });
    // Refused where the file can't be played, which the error event tells.
    video.play().catch(() => {});
  }

  // The shot of a moment: the last that has begun.
  function shotAt(seconds) {
    return Math.max(0, shots.findLastIndex((shot) => shot.start <= seconds));
  }

  // Pixels from the strip's left; a shot's time runs evenly along its picture.
  function place(seconds) {
    if (shots.length === 0) return (seconds / duration) * strip.clientWidth;
    const { button, start, end } = shots[shotAt(seconds)];
    const share = Math.min(1, Math.max(0, (seconds - start) / (end - start || 1)));
    return button.offsetLeft + share * button.offsetWidth;
  }

  // A moment of the skim as a moment of the video.
  function origin(seconds) {
    const part = parts.findLast((part) => part.output <= seconds) ?? { start: 0, end: 0, output: 0 };
    return Math.min(part.end, part.start + seconds - part.output);
  }

  let current = -1;
  function show(seconds) {
    strip.querySelector(".head").style.left = `${place(seconds)}px`;
    overview.querySelector(".head").style.left = `${duration ? (100 * seconds) / duration : 0}%`;
    const shot = shotAt(seconds);
    if (shot === current || shots.length === 0) return;
    shots[current]?.button.removeAttribute("aria-current");
    current = shot;
    const { button } = shots[shot];
    button.setAttribute("aria-current", "true");
    const hidden = button.offsetLeft < scroll.scrollLeft
      || button.offsetLeft + button.offsetWidth > scroll.scrollLeft + scroll.clientWidth;
    if (hidden) scroll.scrollLeft = button.offsetLeft - scroll.clientWidth / 4;
  }

  const showVideo = () => show(Math.max(0, video.currentTime - first));
  const showSkim = () => show(origin(skim.currentTime));
  for (const event of ["timeupdate", "seeking"]) {
    video.addEventListener(event, showVideo);
    skim?.addEventListener(event, showSkim);
  }
  // One at a time.
  video.addEventListener("play", () => skim?.pause());
  skim?.addEventListener("play", () => video.pause());

  for (const player of document.querySelectorAll("video")) {
    const tell = () => { player.parentElement.querySelector(".broken").hidden = false; };
    player.addEventListener("error", tell);
    if (player.error) tell();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-start]");
    if (button) play(Number(button.dataset.start));
  });

  // The strip is one stop of the tab key; within it the arrow keys move.
  let stop = 0;
  function focus(shot) {
    shots[stop].button.tabIndex = -1;
    stop = Math.min(shots.length - 1, Math.max(0, shot));
    shots[stop].button.tabIndex = 0;
    shots[stop].button.focus();
  }
  shots.forEach(({ button }, shot) => {
    button.tabIndex = shot === 0 ? 0 : -1;
    button.addEventListener("focus", () => { if (shot !== stop) focus(shot); });
    button.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "-") mark(shot, event.key === "+");
      const steps = { ArrowLeft: shot - 1, ArrowRight: shot + 1, Home: 0, End: shots.length - 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      focus(steps[event.key]);
    });
  });

  // What the person wants more (true) or less (false) of, by the times of the shot.
  const kept = `desumnet-marks ${video.src}`;
  const marks = new Map();
  const times = ({ start, end }) => `${start.toFixed(3)}-${end.toFixed(3)}`;
  try {
    const before = JSON.parse(localStorage.getItem(kept)) ?? {};
    for (const shot of shots.map(times)) if (shot in before) marks.set(shot, before[shot]);
  } catch {
    // A browser that keeps nothing: marks last as long as the page is open.
  }

  function showMarks() {
    for (const button of document.querySelectorAll(".wish button")) {
      const like = marks.get(times(shots[button.dataset.shot - 1]));
      button.setAttribute("aria-pressed", like === button.classList.contains("more"));
    }
    document.getElementById("marked").hidden = marks.size === 0;
    document.getElementById("count").textContent = marks.size === 1 ? "1 mark" : `${marks.size} marks`;
  }

  // The same mark once more takes it back.
  function mark(shot, like) {
    const place = times(shots[shot]);
    if (marks.get(place) === like) marks.delete(place);
    else marks.set(place, like);
    try {
      localStorage.setItem(kept, JSON.stringify(Object.fromEntries(marks)));
    } catch {
      // As above.
    }
    showMarks();
  }

  // How other programs call the video: a path where this page lies in a folder.
  function address() {
    const { protocol, pathname } = new URL(video.src);
    if (protocol !== "file:") return video.src;
    try {
      return decodeURIComponent(pathname);
    } catch {
      // A name that is not UTF-8 has no other form than the URI.
      return video.src;
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".wish button");
    if (button) mark(button.dataset.shot - 1, button.classList.contains("more"));
  });
  document.getElementById("download").addEventListener("click", () => {
    const lines = shots.filter((shot) => marks.has(times(shot))).map((shot) => {
      const [start, end] = [shot.start.toFixed(3), shot.end.toFixed(3)];
      return `{"video": ${JSON.stringify(address())}, "start": ${start}, "end": ${end}, "like": ${marks.get(times(shot))}}\n`;
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
    link.download = "marks.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
  showMarks();

  // The whole video at a glance, where the strip shows only some of it.
  const fit = () => {
    overview.hidden = strip.offsetWidth <= scroll.clientWidth;
    showVideo();
  };
  overview.addEventListener("click", (event) => {
    const { left, width } = overview.getBoundingClientRect();
    play(((event.clientX - left) / width) * duration);
  });
  addEventListener("resize", fit);
  fit();
}
