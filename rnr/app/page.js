// The divider between before and after. A native range input, so that arrow keys, screen readers and touch work as
// anywhere; gr.ImageSlider listens to the pointer only. The share is kept on `element`: what lies inside is drawn anew.
const divider = () => element.querySelector('.divider');
const show = () => element.style.setProperty('--at', (divider() ? divider().value : 50) + '%');

element.addEventListener('input', show);

const follow = event => {
  const input = divider();
  if (!input) return;
  const box = input.getBoundingClientRect();
  const share = 100 * (event.clientX - box.left) / box.width;
  input.value = Math.min(100, Math.max(0, share));
  show();
};
element.addEventListener('pointerdown', event => {
  if (!event.target.matches('.divider') || event.button !== 0) return;
  event.target.setPointerCapture(event.pointerId);
  event.target.focus({focusVisible: false});
  event.preventDefault();
  follow(event);
});
element.addEventListener('pointermove', event => {
  if (event.target.matches('.divider') && event.target.hasPointerCapture(event.pointerId)) follow(event);
});
watch('value', show);
